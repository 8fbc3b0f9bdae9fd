import math

import pytest
import torch
from torch import nn

from osum.train.spread import Spread, observing


def rank_of(*batches):
    spread = Spread()
    for vectors in batches:
        spread.add(vectors)
    return spread.effective_rank()


@pytest.mark.parametrize("directions", [1, 3, 16])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-3, 5.0)])
def test_it_counts_directions_of_equal_variance(directions, scale, offset):
    corners = torch.cat([torch.eye(directions), -torch.eye(directions)])
    rotation, _ = torch.linalg.qr(torch.randn(16, 16))
    vectors = scale * corners @ rotation[:directions] + offset
    assert rank_of(*vectors.split(5)) == pytest.approx(directions, rel=1e-3)


def test_a_direction_counts_by_its_share_of_the_variance():
    vectors = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert rank_of(vectors) == pytest.approx(math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1)))


def test_equal_vectors_have_no_direction_and_none_have_none():
    assert rank_of(torch.zeros(3, 4)) == rank_of() == 0.0


def test_what_is_not_finite_is_told_and_does_not_end_the_run():
    assert math.isnan(rank_of(torch.tensor([[1.0, math.inf], [0.0, 1.0]])))


def test_a_module_is_observed_while_the_context_is_open():
    module = nn.Linear(4, 4)
    module.register_forward_hook(lambda _module, _inputs, hidden: (hidden, "packing"))
    inputs = torch.randn(20, 4)
    with observing(module) as spread:
        module(inputs[:9])
        hidden, _ = module(inputs[9:])
    module(torch.zeros(100, 4))
    assert hidden.requires_grad
    covariance = nn.functional.linear(inputs, module.weight.detach()).T.cov()
    shares = torch.linalg.eigvalsh(covariance) / covariance.trace()
    assert spread.effective_rank() == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-4)
