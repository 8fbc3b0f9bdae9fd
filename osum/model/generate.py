"""Text from speech: greedy or beam search after prompt and speech, batched, without randomness.

Letters: B prefixes, S_i speech embeddings of one utterance, L positions of all prefixes, H the LLM's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

LEAVE_AT = 0.875
"""Finished rows leave the batch once so small a share still runs: leaving costs a copy of the cache."""

Start = Callable[[Sequence[int]], Continuation | WhisperContinuation]
"""Reads the prefixes of these numbers."""


@torch.inference_mode()
def generate(
    model: SpeechLLM | MultitaskWhisper,
    prefixes: Batch,
    limits: Sequence[int],
    rules: StopRules,
    num_beams: int = 1,
    speech: Sequence[Tensor] | None = None,
) -> list[Generated]:
    """Continue the B prefixes of `collate_prefixes` together, each for at most `limits[i]` tokens; one beam is greedy.

    `speech` holds the embeddings (S_i, H) of each prefix from `embed_each`; without it the batch's audio is encoded.
    """
    assert len(limits) == len(prefixes.segment_lens), limits
    return generate_all(lambda _: start(model, prefixes, speech), limits, rules, len(limits), num_beams)


@torch.inference_mode()
def generate_all(
    start: Start, limits: Sequence[int], rules: StopRules, num_rows: int, num_beams: int
) -> list[Generated]:
    """Continue prefixes 0..n-1, which `start` reads, each for at most `limits[i]` tokens, `num_rows` of them at a time.

    In greedy search those that wait take the place of those that end. Beams go on until all of a batch are over.
    """
    assert min(limits, default=1) > 0, limits
    if not limits:
        return []
    if num_beams == 1:
        return _greedy(start, limits, rules, num_rows)
    batches = [range(i, min(i + num_rows, len(limits))) for i in range(0, len(limits), num_rows)]
    return [
        text
        for batch in batches
        for text in beam_search(start(batch), limits[batch.start : batch.stop], rules, num_beams)
    ]


@torch.inference_mode()
def start(
    model: SpeechLLM | MultitaskWhisper, prefixes: Batch, speech: Sequence[Tensor] | None = None
) -> Continuation | WhisperContinuation:
    """Read the B prefixes of `collate_prefixes`; `speech` as in `generate`.

    Prefixes that begin alike, with the same prompt or the same tensor of speech, are read once as far as they do.
    A Whisper writes greedily, from its batch's audio, all rows together.
    """
    if isinstance(model, MultitaskWhisper):
        assert speech is None, "a Whisper hears the batch's audio"
        return WhisperContinuation(model, prefixes)
    if speech is None:
        embeddings, packing = model.embed_speech(prefixes.audio, prefixes.audio_lens)
    else:
        embeddings = torch.cat(list(speech))
        packing = Packing(torch.tensor([len(s) for s in speech], device=embeddings.device))
    embedded = model.splice(prefixes.input_ids, prefixes.speech_mask, embeddings, packing)
    segments, heard = Packing(prefixes.segment_lens), None if speech is None else [id(s) for s in speech]
    sharing = share_beginnings(prefixes.input_ids, prefixes.speech_mask, segments, heard)
    return Continuation(model, embedded, segments, sharing)


@torch.inference_mode()
def embed_each(model: SpeechLLM, audio: Tensor, audio_lens: Tensor) -> list[Tensor]:
    """Packed audio (N,) at 16 kHz -> the speech embeddings (S_i, H) of each utterance, for `generate`."""
    embeddings, packing = model.embed_speech(audio, audio_lens)
    return list(embeddings.split(packing.lens.tolist()))


def _greedy(start: Start, limits: Sequence[int], rules: StopRules, num_rows: int) -> list[Generated]:
    written: list[list[int]] = [[] for _ in limits]
    ended: list[Generated | None] = [None] * len(limits)
    here = list(range(min(num_rows, len(limits))))  # the prefix of each row of the state
    num_begun, state = len(here), start(here)
    while True:
        token_ids = state.likeliest
        for i, token_id in zip(here, token_ids.tolist(), strict=True):
            if ended[i] is None:
                ended[i] = rules.append(written[i], token_id, limits[i])
        running = [row for row, i in enumerate(here) if ended[i] is None]
        if len(running) > LEAVE_AT * len(here):
            state.feed(token_ids)
            continue
        begun = range(num_begun, min(num_begun + num_rows - len(running), len(limits)))
        if not running and not begun:
            return [g for g in ended if g is not None]
        if running:
            rows = torch.tensor(running, device=token_ids.device)
            state.feed(token_ids[rows], rows)
            if begun:
                state.join(start(begun))
        else:
            state = start(begun)
        here, num_begun = [*(here[row] for row in running), *begun], begun.stop
