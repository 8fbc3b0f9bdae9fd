from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from osum.audio.augment import SpecAugmentConfig
from osum.data.load.collate import collate_prefixes, placeholder
from osum.model.packing import Packing
from osum.model.precision import autocast
from osum.model.speech_llm import frame_speech
from osum.rng import rng_for
from osum.text.configs import TemplateConfig
from osum.text.template import SulmTemplate
from osum.text.units import CtcUnits
from osum.types import Example

ALL = (0, 1, 2, 3)


def gradients(model, loss):
    model.zero_grad()
    (loss.weighted_nll + loss.ctc).backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}


def test_the_loss_of_a_batch_is_the_sum_of_its_utterances(sulm, collate):
    whole, parts = sulm(collate(ALL)), [sulm(collate([n])) for n in ALL]
    torch.testing.assert_close(whole.nll, torch.cat([p.nll for p in parts]), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(whole.ctc, sum(p.ctc for p in parts), atol=1e-4, rtol=1e-5)
    assert torch.equal(whole.num_tokens, torch.cat([p.num_tokens for p in parts]))
    assert torch.equal(whole.num_correct, torch.cat([p.num_correct for p in parts]))
    assert whole.num_tokens[3] == 1 and (whole.nll > 0).all()  # an empty target still has its end token


def test_the_order_of_a_batch_does_not_matter(sulm, collate):
    torch.testing.assert_close(sulm(collate(ALL)).nll.flip(0), sulm(collate(ALL[::-1])).nll, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    "cfg", [TemplateConfig(speech_first=True), TemplateConfig("chatml"), TemplateConfig("chatml", True)]
)
def test_in_other_templates_too_an_utterance_depends_on_itself_alone(sulm, bpe, collate, cfg):
    template = SulmTemplate(bpe, cfg=cfg)
    apart = torch.cat([sulm(collate([n], template)).nll for n in ALL])
    torch.testing.assert_close(sulm(collate(ALL, template)).nll, apart, atol=1e-4, rtol=1e-5)
    assert not torch.allclose(apart, sulm(collate(ALL)).nll, atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("speech_first", [True, False])
def test_speech_before_the_prompt_is_read_alike_in_all_tasks(sulm, bpe, speech_first):
    template = SulmTemplate(bpe, cfg=TemplateConfig(speech_first=speech_first))
    audio, read = 0.1 * np.random.default_rng(0).standard_normal(9_000).astype(np.float32), []
    for prompt in ("do it", "hello"):
        batch = collate_prefixes([Example("u", "asr", "en", prompt, "", audio)], template)
        embedded = sulm.splice(batch.input_ids, batch.speech_mask, *sulm.embed_speech(batch.audio, batch.audio_lens))
        read.append(sulm.read(embedded, Packing(batch.segment_lens))[batch.speech_mask])
    assert torch.allclose(*read, atol=1e-5) == speech_first


def test_gradients_add_up_too(sulm, collate):
    whole = gradients(sulm, sulm(collate([0, 1, 2])))
    parts = [gradients(sulm, sulm(collate([n]))) for n in (0, 1, 2)]
    for name, grad in whole.items():
        torch.testing.assert_close(grad, sum(p[name] for p in parts), atol=2e-4, rtol=1e-4, msg=lambda m, n=name: n + m)


def mean_gradients(model, batches):
    """Of the mean loss of all target tokens, however they are batched."""
    model.zero_grad()
    losses = [model(batch) for batch in batches]
    (sum(loss.weighted_nll for loss in losses) / sum(loss.num_tokens.sum() for loss in losses)).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "others", [[ALL[::-1]], [[0], [1], [2], [3]], [[2, 0], [3, 1]]], ids=["order", "alone", "pairs"]
)
@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("bfloat16", 0.01)])
def test_the_gradient_does_not_depend_on_the_pack(sulm, collate, others, precision, bound):
    with autocast(torch.device("cpu"), precision):
        wanted = mean_gradients(sulm, [collate(ALL)])
        found = mean_gradients(sulm, [collate(numbers) for numbers in others])
    assert wanted.keys() == found.keys()
    scale = torch.cat([g.flatten() for g in wanted.values()]).norm()
    for name, grad in wanted.items():
        assert (found[name] - grad).norm() <= bound * scale, name


def test_in_bfloat16_the_loss_is_that_of_float32_within_bounds(sulm, collate):
    exact, batch = sulm(collate(ALL)), collate(ALL)
    with autocast(torch.device("cpu"), "bfloat16"):
        together, alone = sulm(batch), torch.cat([sulm(collate([n])).nll for n in ALL])
    assert not torch.equal(together.nll, exact.nll)
    # A token's loss moves by a hundredth of a nat or so, and by as much again with the company that it is in.
    per_token = exact.num_tokens
    torch.testing.assert_close(together.nll / per_token, exact.nll / per_token, atol=0.05, rtol=0)
    torch.testing.assert_close(together.nll / per_token, alone / per_token, atol=0.05, rtol=0)


def test_logits_do_not_depend_on_the_pack(sulm, collate):
    def logits(numbers):
        batch = collate(numbers)
        speech, packing = sulm.embed_speech(batch.audio, batch.audio_lens)
        segments = Packing(batch.segment_lens)
        hidden = sulm.read(sulm.splice(batch.input_ids, batch.speech_mask, speech, packing), segments)
        return sulm.llm.lm_head(hidden).split(batch.segment_lens.tolist())

    for number, together in zip(ALL[::-1], logits(ALL[::-1]), strict=True):
        torch.testing.assert_close(together, logits([number])[0], atol=1e-5, rtol=1e-5)


def test_a_token_changes_no_other_utterance(sulm, collate):
    batch = collate(ALL)
    changed = batch.input_ids.clone()
    changed[int(batch.segment_lens[0]) + 1] += 1  # the second token of the second utterance's prompt
    before, after = sulm(batch).nll, sulm(replace(batch, input_ids=changed)).nll
    assert torch.equal(before[[0, 2, 3]], after[[0, 2, 3]]) and before[1] != after[1]


class Squares(TorchDispatchMode):
    """Notes the shapes of tensors with two axes of at least so many positions each."""

    def __init__(self, length):
        super().__init__()
        self.length, self.found = length, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else [out]:
            if isinstance(made, torch.Tensor) and sum(n >= self.length for n in made.shape) > 1:
                self.found.append(tuple(made.shape))
        return out


def test_no_mask_of_all_positions_by_all_is_made(sulm, collate):
    batch = collate(ALL * 3)
    segments = Packing(batch.segment_lens)
    length = int(batch.segment_lens.sum())
    assert length > 5 * segments.max_len  # nor any other tensor of so many rows and columns
    with Squares(length) as squares:
        hidden = sulm.read(torch.randn(length, sulm.llm.config.hidden_size), segments)
        assert squares.found == []
        torch.ones(length, length)
    assert squares.found == [(length, length)] and len(hidden) == length


def test_every_trained_parameter_has_a_gradient(sulm, collate):
    found = gradients(sulm, sulm(collate(ALL)))
    assert [n for n, p in sulm.named_parameters() if p.requires_grad and not found[n].any()] == []


def test_an_utterance_changes_no_other(sulm, collate):
    batch = collate(ALL)
    before = sulm(batch).nll
    ends = batch.audio_lens.cumsum(0)
    batch.audio[ends[0] : ends[1]] = 0.1 * torch.randn(int(batch.audio_lens[1]))
    after = sulm(batch).nll
    others = [0, 2, 3]
    assert torch.equal(before[others], after[others]) and before[1] != after[1]


def test_a_placeholder_costs_nothing_and_reaches_every_parameter(sulm, bpe, tokenizer_dir):
    batch = placeholder(SulmTemplate(bpe), "asr", CtcUnits.load(tokenizer_dir / "units.txt"))
    loss = sulm(batch)
    assert (loss.nll.sum(), loss.ctc, loss.num_tokens.sum()) == (0, 0, 0)
    sulm.zero_grad()
    (loss.weighted_nll + loss.ctc).backward()
    # DDP waits for the gradient of each one, zero though it is.
    assert [n for n, p in sulm.named_parameters() if p.requires_grad and p.grad is None] == []
    assert not any(p.grad.any() for p in sulm.parameters() if p.grad is not None)


def test_augmentation_changes_the_loss_and_is_keyed_by_utterance(sulm, collate):
    def augmented(numbers, seed):
        return sulm(collate(numbers), SpecAugmentConfig(), [rng_for(seed, n) for n in numbers]).nll

    assert not torch.equal(augmented([0, 1], 0), sulm(collate([0, 1])).nll)
    assert torch.equal(augmented([0, 1], 0), augmented([0, 1], 0))
    torch.testing.assert_close(augmented([0, 1], 0).flip(0), augmented([1, 0], 0), atol=1e-4, rtol=1e-5)


def test_speech_stands_between_its_boundaries():
    speech = torch.tensor([[1.0], [2.0], [3.0]])
    framed = frame_speech(speech, Packing(torch.tensor([2, 1])), torch.tensor([[-1.0], [-2.0]]))
    assert framed.squeeze(1).tolist() == [-1, 1, 2, -2, -1, 3, -2]


def test_what_is_spliced_stands_where_the_mask_says(sulm):
    speech, boundaries = torch.ones(2, 24), sulm.boundaries.weight
    mask = torch.tensor([False, True, True, True, True, False])
    row = sulm.splice(torch.tensor([7, 0, 0, 0, 0, 9]), mask, speech, Packing(torch.tensor([2])))
    words = sulm.llm.get_input_embeddings().weight
    assert torch.equal(row, torch.stack([words[7], boundaries[0], *speech, boundaries[1], words[9]]))
