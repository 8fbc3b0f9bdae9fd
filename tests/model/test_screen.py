"""On processors without products of bfloat16 the same is computed more slowly."""

import pytest
import torch
from torch import nn

from osum.model import screen as module
from osum.model.likeliest import likeliest
from osum.model.screen import Screen, chooser


@pytest.fixture
def looked_at_all(monkeypatch):
    """The heads that were searched in whole."""
    seen = []
    monkeypatch.setattr(module, "likeliest", lambda hidden, head: (seen.append(head), likeliest(hidden, head))[1])
    return seen


def make_head(num_words, width=64, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(width, num_words, bias=False)


@pytest.mark.parametrize("num_words", [10_000, 9_999, 4_097, 17, 16, 3])
@pytest.mark.parametrize("num_rows", [1, 5, 16, 17, 100])
@torch.inference_mode()
def test_it_is_the_largest_logit(num_words, num_rows, looked_at_all):
    head = make_head(num_words)
    hidden = torch.randn(num_rows, 64)
    assert torch.equal(Screen(head)(hidden), head(hidden).argmax(-1))
    assert not looked_at_all


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6])
@torch.inference_mode()
def test_weights_and_states_of_any_size(scale, looked_at_all):
    head = make_head(5_000)
    head.weight.mul_(scale * torch.exp(2 * torch.randn(5_000, 1)))  # words of very different norms
    hidden = torch.randn(64, 64) * torch.exp(3 * torch.randn(64, 1)) + torch.randn(64)
    logits = (hidden.double() @ head.weight.double().T).float()
    found = Screen(head)(hidden)
    best = logits.max(1).values
    torch.testing.assert_close(logits.gather(1, found[:, None])[:, 0], best, rtol=1e-5, atol=0)
    assert not looked_at_all


@torch.inference_mode()
def test_what_rounding_makes_equal_or_turns_round_is_told_apart():
    head = make_head(5_000)
    hidden = torch.randn(200, 64)
    head.weight[4_800:] = 0
    first = head(hidden).argmax(-1)
    # Each row's best word a second time, larger by less than bfloat16 can tell.
    head.weight[4_800:] = head.weight[first] * (1 + 2.0**-12)
    expected = head(hidden).argmax(-1)
    rounded = (hidden.bfloat16() @ head.weight.bfloat16().T).argmax(-1)
    assert torch.equal(Screen(head)(hidden), expected)
    assert (expected != first).all() and (rounded != expected).float().mean() > 0.2


@torch.inference_mode()
def test_no_logit_leaves_its_bound():
    head = make_head(2_000, width=300)
    hidden = torch.randn(50, 300)
    screen = Screen(head)
    # A group is left out only if none of its words reaches the best one.
    best_of_group = head(hidden).T.view(-1, module.GROUP, 50).amax(1)
    in_doubt = screen._doubtful(hidden)
    assert in_doubt.gather(0, best_of_group.argmax(0)[None]).all()
    assert in_doubt.sum(0).max() < 20, "most words are out of the question"


@torch.inference_mode()
def test_the_first_of_equal_ones_counts_as_in_argmax():
    head = make_head(100)
    head.weight[[37, 40, 70]] = 10.0
    assert Screen(head)(torch.ones(2, 64)).tolist() == [37, 37]


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
@torch.inference_mode()
def test_where_it_can_not_tell_all_words_are_looked_at(value, looked_at_all):
    head, hidden = make_head(5_000), torch.randn(3, 64)
    hidden[1] = value
    assert torch.equal(Screen(head)(hidden), likeliest(hidden, head))
    assert looked_at_all == [head]


@pytest.fixture
def built(monkeypatch):
    """Heads that were rounded."""
    made = []
    monkeypatch.setattr(module, "Screen", lambda head: (made.append(head), Screen(head))[1])
    return made


@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16", None])
@torch.inference_mode()
def test_it_is_used_where_it_is_faster_once_it_pays(monkeypatch, built, instruction):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {} if instruction is None else {instruction: True})
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(module, "SMALL", 1_000)
    head = make_head(100)
    choose = chooser(head)
    for number in range(module.PAYS_AFTER + 3):
        hidden = torch.randn(5, 64)
        assert torch.equal(choose(hidden), head(hidden).argmax(-1))
        assert built == ([head] if instruction is not None and number >= module.PAYS_AFTER else [])


@pytest.mark.parametrize("kind", ["bias", "half", "small", "not linear"])
@torch.inference_mode()
def test_other_heads_are_not_rounded(monkeypatch, built, kind):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(module, "SMALL", 1_000)
    head = {
        "bias": nn.Linear(64, 100),
        "half": make_head(100).bfloat16(),
        "small": make_head(10),
        "not linear": nn.Sequential(make_head(100)),
    }[kind]
    choose, hidden = chooser(head), torch.randn(5, 64, dtype=next(head.parameters()).dtype)
    for _ in range(module.PAYS_AFTER + 3):
        assert torch.equal(choose(hidden), head(hidden).argmax(-1))
    assert not built
