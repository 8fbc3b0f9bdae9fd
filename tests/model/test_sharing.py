"""Equal prompts of a pack are computed once, and nothing else changes."""

import numpy as np
import pytest
import torch

from osum.data.load.collate import collate, collate_prefixes
from osum.model.ending import StopRules
from osum.model.generate import embed_each, generate
from osum.model.packing import Packing
from osum.model.sharing import share_beginnings
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
    sharing = share_beginnings(ids, is_speech, Packing(torch.tensor([4, 4, 3, 3])))
    assert sharing.kept.tolist() == [0, 1, 2, 3, 6, 7, 9, 10, 11, 12, 13]
    assert sharing.kept[sharing.source].tolist() == [0, 1, 2, 3, 0, 1, 6, 7, 0, 9, 10, 11, 12, 13]


def test_nothing_to_share():
    ids, is_speech = torch.tensor([5, 0, 9, 6, 0, 9]), torch.tensor([0, 1, 0, 0, 1, 0]).bool()
    assert share_beginnings(ids, is_speech, Packing(torch.tensor([3, 3]))) is None


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


def test_speech_is_shared_by_those_that_hear_the_same():
    ids = torch.tensor([0, 0, 8, 9, 0, 0, 8, 7, 0, 0, 8, 9])
    is_speech, segments = (ids == 0), Packing(torch.tensor([4, 4, 4]))
    assert share_beginnings(ids, is_speech, segments) is None
    sharing = share_beginnings(ids, is_speech, segments, heard=[5, 5, 2])
    assert sharing.kept[sharing.source].tolist() == [0, 1, 2, 3, 0, 1, 2, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("speech_first", [False, True])
@torch.inference_mode()
def test_texts_about_one_utterance_read_it_once(sulm, bpe, speech_first):
    rng = np.random.default_rng(0)
    audio = [rng.standard_normal(size).astype(np.float32) / 9 for size in (9_000, 16_161)]
    asked = [(0, "do it"), (1, "do it"), (0, "hello"), (1, "do that"), (0, "do it")]
    template = SulmTemplate(bpe, cfg=TemplateConfig(speech_first=speech_first))
    examples = [Example(f"u{n}", "asr", "en", prompt, "", audio[n]) for n, prompt in asked]
    lens = torch.tensor([len(a) for a in audio])
    speech = embed_each(sulm, torch.from_numpy(np.concatenate(audio)), lens)
    read = []
    sulm.llm.model.layers[0].mlp.register_forward_hook(lambda _, inputs, out: read.append(out.shape[1]))

    def texts(numbers):
        prefixes = collate_prefixes([examples[n] for n in numbers], template)
        limits, heard = [3 + n for n in numbers], [speech[asked[n][0]] for n in numbers]
        read.append(-len(prefixes.input_ids))
        return generate(sulm, prefixes, limits, StopRules(frozenset()), speech=heard)

    together = texts(range(5))
    prompt_lens = {prompt: len(template.target_ids(prompt)) for _, prompt in asked}
    if speech_first:  # two utterances and, for each, two prompts
        computed = sum(len(s) + 2 for s in speech) + 2 * prompt_lens["do it"] + prompt_lens["hello"]
        assert read[1] < -read[0] and read[1] <= computed + prompt_lens["do that"]
    else:  # what two rows share is the whole beginning, what four share a prompt
        assert read[1] < -read[0] - len(speech[0])
    for n in range(5):
        assert [together[n]] == texts([n])
