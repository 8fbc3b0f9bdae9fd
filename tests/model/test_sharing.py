"""Equal prompts of a pack are computed once, and nothing else changes."""

import numpy as np
import pytest
import torch

from osum.data.collate import collate
from osum.model.packing import Packing
from osum.model.sharing import share_prompts
from osum.text.configs import TemplateConfig
from osum.text.template import SulmTemplate
from osum.types import Example

PROMPTS = ("do it", "do it", "do that", "hello", "do it", "")


@pytest.fixture
def batch(bpe):
    rng = np.random.default_rng(0)
    examples = [
        Example(f"u{n}", "asr", "en", prompt, "hello there", rng.standard_normal(size).astype(np.float32) / 9)
        for n, (prompt, size) in enumerate(zip(PROMPTS, (9_000, 4_801, 16_161, 1_600, 7_000, 3_000), strict=True))
    ]
    return collate(examples, SulmTemplate(bpe))


def test_what_is_equal_up_to_the_speech_is_kept_once():
    ids = torch.tensor([5, 6, 0, 9, 5, 6, 0, 9, 5, 7, 0, 6, 0, 9])
    is_speech = torch.tensor([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0]).bool()
    sharing = share_prompts(ids, is_speech, Packing(torch.tensor([4, 4, 3, 3])))
    assert sharing.kept.tolist() == [0, 1, 2, 3, 6, 7, 9, 10, 11, 12, 13]
    assert sharing.kept[sharing.source].tolist() == [0, 1, 2, 3, 0, 1, 6, 7, 0, 9, 10, 11, 12, 13]


def test_nothing_to_share():
    ids, is_speech = torch.tensor([5, 0, 9, 6, 0, 9]), torch.tensor([0, 1, 0, 0, 1, 0]).bool()
    assert share_prompts(ids, is_speech, Packing(torch.tensor([3, 3]))) is None


def run(model, batch, shared):
    model.zero_grad()
    model.share_prompts = shared
    loss = model(batch)
    loss.weighted_nll.backward()
    return loss.nll, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradients_stay(sulm, batch):
    calls = []
    sulm.llm.model.layers[0].mlp.register_forward_hook(lambda _, inputs, out: calls.append(out.shape[1]))
    (nll, grads), (shared_nll, shared_grads) = run(sulm, batch, False), run(sulm, batch, True)
    assert calls[1] < calls[0] == len(batch.input_ids)
    torch.testing.assert_close(shared_nll, nll, atol=1e-5, rtol=1e-5)
    assert grads.keys() == shared_grads.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(shared_grads[name], grad, atol=2e-4, rtol=1e-4, msg=lambda m, n=name: n + m)


def test_an_utterance_has_the_same_loss_whoever_shares_its_prompt(sulm, bpe, batch):
    sulm.share_prompts = True
    with torch.no_grad():
        whole = sulm(batch).nll
        starts = batch.audio_lens.cumsum(0) - batch.audio_lens
        alone = []
        for n, prompt in enumerate(PROMPTS):
            audio = batch.audio[starts[n] : starts[n] + batch.audio_lens[n]].numpy()
            alone.append(
                sulm(collate([Example("u", "asr", "en", prompt, "hello there", audio)], SulmTemplate(bpe))).nll
            )
    torch.testing.assert_close(whole, torch.cat(alone), atol=1e-4, rtol=1e-5)


def test_speech_first_leaves_nothing_to_share(bpe):
    examples = [Example("u", "asr", "en", "do it", "a", np.zeros(5_000, dtype=np.float32))] * 2
    found = collate(examples, SulmTemplate(bpe, cfg=TemplateConfig(speech_first=True)))
    assert share_prompts(found.input_ids, found.speech_mask, Packing(found.segment_lens)) is None
