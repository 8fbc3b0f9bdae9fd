"""Text from speech: greedy or beam search after prompt and speech, batched, without randomness.

Letters: B prefixes, S_i speech embeddings of one utterance, L positions of all prefixes, H the LLM's width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

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

Prefix = TypeVar("Prefix")
State = Continuation | WhisperContinuation


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
    if not limits:
        return []
    texts = dict(
        generate_all(lambda _: start(model, prefixes, speech), enumerate(limits), rules, len(limits), num_beams)
    )
    return [texts[i] for i in range(len(limits))]


@torch.inference_mode()
def generate_all(
    start: Callable[[Sequence[Prefix]], State],
    prefixes: Iterable[tuple[Prefix, int]],
    rules: StopRules,
    num_rows: int,
    num_beams: int,
) -> Iterator[tuple[Prefix, Generated]]:
    """Continue any number of prefixes, which `start` reads, `num_rows` of them at a time; yield each when it ends.

    With each comes how many tokens it may take. They are drawn when there is room for them, so that what yields them
    may prepare them late. In greedy search those that wait take the place of those that end. Beams go on until all of a
    batch are over.
    """
    if num_beams == 1:
        yield from _greedy(start, iter(prefixes), rules, num_rows)
        return
    waiting = iter(prefixes)
    while batch := list(islice(waiting, num_rows)):
        read, limits = zip(*batch, strict=True)
        yield from zip(read, beam_search(start(read), limits, rules, num_beams), strict=True)


@torch.inference_mode()
def start(
    model: SpeechLLM | MultitaskWhisper,
    prefixes: Batch,
    speech: Sequence[Tensor] | None = None,
    choose: Callable[[Tensor], Tensor] | None = None,
) -> State:
    """Read the B prefixes of `collate_prefixes`; `speech` as in `generate`, `choose` as in `Continuation`.

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
    return Continuation(model, embedded, segments, sharing, choose)


@torch.inference_mode()
def embed_each(model: SpeechLLM, audio: Tensor, audio_lens: Tensor) -> list[Tensor]:
    """Packed audio (N,) at 16 kHz -> the speech embeddings (S_i, H) of each utterance, for `generate`."""
    embeddings, packing = model.embed_speech(audio, audio_lens)
    return list(embeddings.split(packing.lens.tolist()))


class _Row(Generic[Prefix]):
    """A prefix whose text is being written."""

    def __init__(self, prefix: Prefix, limit: int) -> None:
        assert limit > 0, limit
        self.prefix, self.limit = prefix, limit
        self.ids: list[int] = []
        self.text: Generated | None = None


def _greedy(
    start: Callable[[Sequence[Prefix]], State], waiting: Iterator[tuple[Prefix, int]], rules: StopRules, num_rows: int
) -> Iterator[tuple[Prefix, Generated]]:
    rows = [_Row(*asked) for asked in islice(waiting, num_rows)]
    if not rows:
        return
    state = start([row.prefix for row in rows])
    while True:
        token_ids = state.likeliest
        for row, token_id in zip(rows, token_ids.tolist(), strict=True):
            if row.text is None:
                row.text = rules.append(row.ids, token_id, row.limit)
                if row.text is not None:
                    yield row.prefix, row.text
        running = [place for place, row in enumerate(rows) if row.text is None]
        if len(running) > LEAVE_AT * len(rows):
            state.feed(token_ids)
            continue
        begun = [_Row(*asked) for asked in islice(waiting, num_rows - len(running))]
        if not running and not begun:
            return
        if running:
            places = torch.tensor(running, device=token_ids.device)
            state.feed(token_ids[places], places)
            if begun:
                state.join(start([row.prefix for row in begun]))
        else:
            state = start([row.prefix for row in begun])
        rows = [*(rows[place] for place in running), *begun]
