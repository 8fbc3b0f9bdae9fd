from types import SimpleNamespace

import peft
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from osum.model.linear_cross_entropy import linear_cross_entropy
from osum.model.onednn import use_onednn

TOKENS, WIDTH, WORDS = 37, 8, 211
CHUNK = 10 * WORDS
"""Ten tokens at a time, seven at the end."""


def head(bias=False, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Linear(WIDTH, WORDS, bias=bias).to(dtype)


def problem(dtype=torch.float32):
    """Hidden states, labels and weights of 37 tokens, two of which have no weight."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    labels = torch.randint(WORDS, (TOKENS,), generator=generator)
    weights = torch.rand(TOKENS, generator=generator)
    return hidden, labels, weights.index_fill(0, torch.tensor([3, 30]), 0.0)


def plain(hidden, layer, labels, weights):
    logits = layer(hidden).float()
    nll = cross_entropy(logits, labels, reduction="none")
    return SimpleNamespace(total=(nll * weights).sum(), nll=nll, is_correct=logits.argmax(-1) == labels)


def chunked(*args):
    return linear_cross_entropy(*args, max_logits=CHUNK)


def gradients(formula, layer, factor=0.25):
    hidden, labels, weights = problem()
    layer.zero_grad()
    found = formula(hidden, layer, labels, weights)
    (factor * found.total).backward()
    return found, [hidden.grad, *(None if p.grad is None else p.grad.clone() for p in layer.parameters())]


def assert_same(layer, **bounds):
    (wanted, wanted_grads), (found, found_grads) = gradients(plain, layer), gradients(chunked, layer)
    torch.testing.assert_close(found.total, wanted.total, **bounds)
    torch.testing.assert_close(found.nll, wanted.nll.detach(), **bounds)
    assert torch.equal(found.is_correct, wanted.is_correct) and not found.nll.requires_grad
    for ours, theirs in zip(found_grads, wanted_grads, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, **bounds)


@pytest.mark.parametrize("products", ["torch", "onednn"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_it_is_the_plain_formula(bias, frozen, products):
    layer = head(bias).requires_grad_(not frozen)
    if products == "onednn":
        use_onednn(layer)
    assert_same(layer, atol=1e-6, rtol=1e-5)


def test_a_head_with_lora_is_called_as_it_is():
    model = nn.ModuleDict({"lm_head": head().requires_grad_(False)})
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["lm_head"], init_lora_weights=False), model)
    assert_same(model["lm_head"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_under_autocast_it_is_the_plain_formula_within_bfloat16(frozen):
    layer = head().requires_grad_(not frozen)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(layer, atol=0.01, rtol=0.02)
        rounded = gradients(chunked, layer)[0].nll
    assert not torch.equal(rounded, gradients(chunked, layer)[0].nll)


def test_a_frozen_bfloat16_head_serves_float32_states_under_autocast():
    layer = head(dtype=torch.bfloat16).requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(layer, atol=0.01, rtol=0.02)
        _, (of_hidden, of_weight) = gradients(chunked, layer)
    assert of_hidden.dtype == torch.float32 and of_weight is None


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation made."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else [out]:
            if isinstance(made, torch.Tensor):
                self.numel = max(self.numel, made.numel())
        return out


@pytest.mark.parametrize("kind", ["trained", "frozen", "lora", "bfloat16", "onednn"])
def test_the_logits_of_all_tokens_never_exist(kind):
    model = nn.ModuleDict({"lm_head": head(bias=True).requires_grad_(kind != "frozen")})
    if kind == "lora":
        peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["lm_head"]), model)
    if kind == "onednn":
        use_onednn(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
        with Largest() as ours:
            gradients(chunked, model["lm_head"])
        with Largest() as theirs:
            gradients(plain, model["lm_head"])
    assert ours.numel == CHUNK and theirs.numel == TOKENS * WORDS


def test_without_gradients_none_is_computed():
    layer, (hidden, labels, weights) = head(), problem()
    with torch.no_grad(), Largest() as made:
        found = linear_cross_entropy(hidden, layer, labels, weights, max_logits=WORDS)
    torch.testing.assert_close(found.nll, plain(hidden, layer, labels, weights).nll.detach())
    assert made.numel == WORDS * WIDTH and not found.total.requires_grad  # the weight's transpose is the largest


def test_no_token_at_all_has_a_gradient_of_zero():
    layer, (hidden, labels, weights) = head(), problem()
    found = linear_cross_entropy(hidden[:0], layer, labels[:0], weights[:0])
    found.total.backward()
    assert found.total == 0 and found.nll.shape == (0,) and not layer.weight.grad.any() and not hidden.grad.any()


def test_logits_beyond_the_range_of_exp_are_no_problem():
    layer, (hidden, labels, weights) = head(), problem()
    hidden = (1e4 * hidden).detach().requires_grad_()
    found = chunked(hidden, layer, labels, weights)
    torch.testing.assert_close(found.nll, plain(hidden, layer, labels, weights).nll.detach())
    found.total.backward()
    assert hidden.grad.isfinite().all()


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_models_get_the_gradients_of_the_plain_formula(tied):
    torch.manual_seed(2)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Qwen2Config(vocab_size=WORDS, num_key_value_heads=1, tie_word_embeddings=tied, **sizes)
    model = Qwen2ForCausalLM(config)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    _, labels, weights = problem()
    found = []
    for formula in (plain, chunked):
        model.zero_grad()
        hidden = model.model(input_ids=labels[None]).last_hidden_state[0]
        formula(hidden, model.lm_head, labels, weights).total.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters()})
    assert ("lm_head.weight" in found[0]) != tied
    for name, wanted in found[0].items():
        torch.testing.assert_close(found[1][name], wanted, atol=1e-6, rtol=1e-4, msg=lambda m, n=name: n + m)
