"""The published model's own outputs: encoder, adaptor, LLM with LoRA, loss and greedy continuation are the same.

The model comes from the converter's command line, as a user would get it.
"""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from osum.bin import convert
from osum.model.continuation import Continuation
from osum.model.folder import load_sulm
from osum.model.packing import Packing

SETS = {"small": ("tests/model/golden", 2), "large": ("../shared/parity", 4)}
"""Folder from the root of the repository, and number of utterances."""


@pytest.fixture(scope="module", params=SETS)
def golden(request, repo_root):
    """The folder of a set and its utterances."""
    place, count = SETS[request.param]
    folder = (repo_root / place).resolve()
    if not folder.is_dir():
        pytest.skip(f"{place} is not beside this checkout; the small set, which is, shows the same")
    found = load_file(folder / "golden.safetensors")
    return folder, [{n[2:]: v for n, v in found.items() if n.startswith(f"{i}.")} for i in range(count)]


@pytest.fixture(scope="module")
def model(golden, tmp_path_factory):
    made_from, out = golden[0], tmp_path_factory.mktemp("converted") / "sulm"
    argv = ["--source", "original", "--target", "osum", "--output", str(out)]
    convert.main([*argv, "--checkpoint", str(made_from / "original.pt"), "--config", str(made_from / "config.json")])
    return load_sulm(out)[0]


def listen(model, utterances):
    """Return encoder output, speech embeddings and their packings."""
    lens = torch.tensor([len(u["feats"]) for u in utterances])
    mel = torch.full((len(lens), 80, int(lens.max())), torch.nan)
    for row, u in zip(mel, utterances, strict=True):
        row[:, : len(u["feats"])] = u["feats"].T
    frames, frame_packing = model.encoder(mel, lens)
    return frames, frame_packing, *model.adaptor(frames, frame_packing)


def embed(model, utterances, speech, packing, with_target):
    """Return the packed embeddings of whole sequences, or of prompts and speech only."""
    ids, mask, lens = [], [], []
    for u, num_speech in zip(utterances, packing.lens.tolist(), strict=True):
        target = u["target"] if with_target else u["target"][:0]
        ids += [u["prompt"], torch.zeros(num_speech + 2, dtype=torch.int64), target]
        mask += [False] * len(u["prompt"]) + [True] * (num_speech + 2) + [False] * len(target)
        lens.append(len(u["prompt"]) + num_speech + 2 + len(target))
    return model.splice(torch.cat(ids), torch.tensor(mask), speech, packing), Packing(torch.tensor(lens))


def close(found, wanted):
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


ALONE, MIXED = [[0], [1], [2], [3]], [[0, 1], [1, 0, 1], [3, 1, 2, 0]]


@pytest.mark.parametrize("chosen", [*ALONE, *MIXED], ids=str)
@torch.inference_mode()
def test_outputs_are_the_originals_alone_and_in_any_pack(model, golden, chosen):
    utterances = [golden[1][i] for i in chosen if i < len(golden[1])]
    if not utterances:
        pytest.skip("the small set has two utterances")
    frames, frame_packing, speech, packing = listen(model, utterances)
    sequence, segments = embed(model, utterances, speech, packing, with_target=True)
    logits = model.llm.lm_head(model.read(sequence, segments)).split(segments.lens.tolist())
    by_utterance = (frames.split(frame_packing.lens.tolist()), speech.split(packing.lens.tolist()), logits)
    for u, encoder_out, speech_embeds, own_logits in zip(utterances, *by_utterance, strict=True):
        close(encoder_out, u["encoder_out"])
        close(speech_embeds, u["speech_embeds"])
        close(own_logits, u["logits"])
        close(cross_entropy(own_logits[-len(u["target"]) - 1 : -1], u["target"]), u["loss"])


@torch.inference_mode()
def test_greedy_continuation_is_the_originals(model, golden):
    utterances = golden[1]
    _, _, speech, packing = listen(model, utterances)
    state = Continuation(model, *embed(model, utterances, speech, packing, with_target=False))
    written = [state.logits.argmax(-1)]
    for _ in range(15):
        state.feed(written[-1])
        written.append(state.logits.argmax(-1))
    assert torch.stack(written, 1).tolist() == [u["greedy"].tolist() for u in utterances]
