"""Text from speech: greedy or beam search after prompt and speech, batched, without randomness.

Letters: B prefixes, S_i speech embeddings of one utterance, L positions of all prefixes, H the LLM's width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from osum.model.beam import beam_search
from osum.model.continuation import Continuation
from osum.model.ending import Generated, StopRules
from osum.model.packing import Packing
from osum.model.sharing import share_beginnings
from osum.model.speech_llm import SpeechLLM
from osum.model.whisper import MultitaskWhisper
from osum.model.whisper_continuation import WhisperContinuation
from osum.types import Batch

SHRINK_AT = 0.875
"""Finished rows leave the batch once so small a share still runs: leaving costs a copy of the cache."""


@torch.inference_mode()
def generate(
    model: SpeechLLM | MultitaskWhisper,
    prefixes: Batch,
    limits: Sequence[int],
    rules: StopRules,
    num_beams: int = 1,
    speech: Sequence[Tensor] | None = None,
) -> list[Generated]:
    """Continue the B prefixes of `collate_prefixes`, each for at most `limits[i]` tokens; one beam is greedy.

    `speech` holds the embeddings (S_i, H) of each prefix from `embed_each`; without it the batch's audio is encoded.
    Prefixes that begin alike, with the same prompt or the same tensor of speech, are read once as far as they do.
    A Whisper writes greedily, from its batch's audio.
    """
    assert len(limits) == len(prefixes.segment_lens) and min(limits) > 0, limits
    if isinstance(model, MultitaskWhisper):
        assert num_beams == 1 and speech is None, "a Whisper writes greedily, from audio"
        return _greedy(WhisperContinuation(model, prefixes), limits, rules)
    if speech is None:
        embeddings, packing = model.embed_speech(prefixes.audio, prefixes.audio_lens)
    else:
        embeddings = torch.cat(list(speech))
        packing = Packing(torch.tensor([len(s) for s in speech], device=embeddings.device))
    embedded = model.splice(prefixes.input_ids, prefixes.speech_mask, embeddings, packing)
    segments, heard = Packing(prefixes.segment_lens), None if speech is None else [id(s) for s in speech]
    sharing = share_beginnings(prefixes.input_ids, prefixes.speech_mask, segments, heard)
    state = Continuation(model, embedded, segments, sharing)
    return _greedy(state, limits, rules) if num_beams == 1 else beam_search(state, limits, rules, num_beams)


@torch.inference_mode()
def embed_each(model: SpeechLLM, audio: Tensor, audio_lens: Tensor) -> list[Tensor]:
    """Packed audio (N,) at 16 kHz -> the speech embeddings (S_i, H) of each utterance, for `generate`."""
    embeddings, packing = model.embed_speech(audio, audio_lens)
    return list(embeddings.split(packing.lens.tolist()))


def _greedy(state: Continuation | WhisperContinuation, limits: Sequence[int], rules: StopRules) -> list[Generated]:
    written: list[list[int]] = [[] for _ in limits]
    ended: list[Generated | None] = [None] * len(limits)
    here = list(range(len(limits)))  # the prefix of each row of the state
    while True:
        token_ids = state.logits.argmax(-1)
        for i, token_id in zip(here, token_ids.tolist(), strict=True):
            if ended[i] is None:
                ended[i] = rules.append(written[i], token_id, limits[i])
        running = [row for row, i in enumerate(here) if ended[i] is None]
        if not running:
            return [g for g in ended if g is not None]
        if len(running) > SHRINK_AT * len(here):
            state.feed(token_ids)
            continue
        rows = torch.tensor(running, device=token_ids.device)
        here = [here[row] for row in running]
        state.feed(token_ids[rows], rows)
