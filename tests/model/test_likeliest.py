import pytest
import torch
from torch import nn

from osum.model import likeliest as module
from osum.model.likeliest import likeliest
from osum.model.onednn import PLAIN


@pytest.fixture
def head(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "GROUP", 4)
    torch.manual_seed(0)
    return nn.Linear(16, 45, bias=False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layer", PLAIN)
@torch.inference_mode()
def test_it_is_the_largest_logit_of_all_blocks(head, bias, layer):
    if bias:
        head.bias = nn.Parameter(0.3 * torch.randn(45))
    head.__class__ = layer
    hidden = torch.randn(500, 16)
    found = likeliest(hidden, head)
    assert torch.equal(found, head(hidden).argmax(-1)) and {int(token) // 8 for token in found} == set(range(6))


@pytest.mark.parametrize("rows", [1, 16, 17, 33])
@torch.inference_mode()
def test_any_number_of_rows(head, rows):
    hidden = torch.randn(rows, 16)
    assert torch.equal(likeliest(hidden, head), head(hidden).argmax(-1))


@torch.inference_mode()
def test_negative_logits_only(head):
    head.weight.abs_()
    hidden = -torch.rand(20, 16)
    assert torch.equal(likeliest(hidden, head), head(hidden).argmax(-1))


@torch.inference_mode()
def test_what_is_not_finite_is_found_as_in_argmax(head):
    hidden = torch.randn(3, 16)
    hidden[1] = torch.nan
    assert torch.equal(likeliest(hidden, head), head(hidden).argmax(-1))


@torch.inference_mode()
def test_the_first_of_equal_ones_counts_as_in_argmax(head):
    head.weight[[3, 5, 30]] = 10.0
    assert likeliest(torch.ones(2, 16), head).tolist() == [3, 3]


@torch.inference_mode()
def test_other_layers_and_precisions_make_all_logits(head):
    hidden = torch.randn(4, 16)
    wrapped = nn.Sequential(head, nn.Tanh())
    assert torch.equal(likeliest(hidden, wrapped), wrapped(hidden).argmax(-1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(likeliest(hidden, head), head(hidden).argmax(-1))
