"""What is not a number ends all ranks with the same words: whose utterance it was, not who noticed first."""

import re
from dataclasses import dataclass

import pytest
import torch

from osum import dist
from osum.model.losses import Loss
from osum.train import finite

FINE = [[1.0, 2.0], [3.0, 4.0]]
"""Two micro-batches of two utterances, nats."""


@dataclass
class Keys:
    """All that is read of a batch."""

    keys: list[str]


def step(rank: int, nll: list[list[float]], ctc: float = 0.0) -> tuple[list[Keys], list[Loss]]:
    batches = [Keys([f"rank{rank}-{micro}-{n}" for n in range(2)]) for micro in range(2)]
    rows = [torch.tensor(of_batch) for of_batch in nll]
    ones = torch.ones(2)
    return batches, [Loss(row, ones, torch.tensor(ctc), ones, row.sum()) for row in rows]


def test_numbers_pass():
    finite.check(3, *step(0, FINE), torch.tensor(0.5))


@pytest.mark.parametrize(
    ("nll", "ctc", "norm", "wanted"),
    [
        (
            [[1.0, 2.0], [3.0, torch.nan]],
            0.0,
            torch.nan,
            r"step 3: the loss is nan; look at utterances \['rank0-1-1'\]",
        ),
        ([[torch.inf, 2.0], [3.0, 4.0]], 0.0, 1.0, r"step 3: the loss is inf; look at utterances \['rank0-0-0'\]"),
        (FINE, torch.inf, 1.0, "the loss is inf; look at utterances .*rank0-0-0.*rank0-0-1.*rank0-1-0.*rank0-1-1"),
        (FINE, 0.0, torch.inf, "step 3: the gradient is inf; lower optim.lr"),
    ],
)
def test_what_is_to_blame_is_named(nll, ctc, norm, wanted):
    with pytest.raises(ValueError, match=wanted):
        finite.check(3, *step(0, nll, ctc), torch.tensor(norm))


def test_all_ranks_name_the_utterance_of_the_one_that_has_it(fork_ranks):
    def body():
        with dist.world(60.0) as world:
            nll = FINE if world.rank == 0 else [[1.0, torch.nan], [3.0, 4.0]]
            finite.check(7, *step(world.rank, nll), torch.tensor(torch.nan))  # the gradient is that of all

    for status, text in fork_ranks(body):
        assert status == 1
        assert re.search(r"ERROR step 7: the loss is nan; look at utterances \['rank1-0-1'\] \[finite", text), text
