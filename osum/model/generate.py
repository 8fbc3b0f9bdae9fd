"""Text from speech: greedy or beam search after prompt and speech, batched, without randomness.

Letters: B prefixes, S_i speech embeddings of one utterance, L positions of all prefixes, H the LLM's width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

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

AHEAD = 0.25
"""Of the rows, so many prefixes are read together before there is room for them: reading few costs more."""
LEAVE_AT = 0.875
"""Where nothing waits, ended rows leave the batch once so small a share still runs: it costs a copy of the cache."""

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

    With each comes how many tokens it may take. They are drawn shortly before there is room for them, so that what
    yields them may prepare them late. In greedy search each that ends gives its place to one that waits. Beams go on
    until all of a batch are over.
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


class _Read(NamedTuple):
    """A row that waits for a place, with the first token of its text."""

    row: _Row
    token_id: int
    state: State
    number: int
    """Of the row in the state."""


def _read_ahead(
    start: Callable[[Sequence[Prefix]], State], waiting: Iterator[tuple[Prefix, int]], num_rows: int
) -> Iterator[_Read]:
    """Read so many prefixes together, whenever those read before are used up."""
    while rows := [_Row(*asked) for asked in islice(waiting, num_rows)]:
        state = start([row.prefix for row in rows])
        for number, (row, token_id) in enumerate(zip(rows, state.likeliest.tolist(), strict=True)):
            yield _Read(row, token_id, state, number)


def _greedy(
    start: Callable[[Sequence[Prefix]], State], waiting: Iterator[tuple[Prefix, int]], rules: StopRules, num_rows: int
) -> Iterator[tuple[Prefix, Generated]]:
    first = [_Row(*asked) for asked in islice(waiting, num_rows)]
    if not first:
        return
    state = start([row.prefix for row in first])
    rows: list[_Row | None] = list(first)
    ahead = _read_ahead(start, waiting, max(1, round(AHEAD * num_rows)))
    while True:
        chosen = state.likeliest
        token_ids = chosen.tolist()
        for place, row in enumerate(rows):
            while row is not None and (text := rules.append(row.ids, token_ids[place], row.limit)) is not None:
                yield row.prefix, text
                row = None
                if (read := next(ahead, None)) is not None:
                    state.put(place, read.state, read.number)
                    row, token_ids[place] = read.row, read.token_id
            rows[place] = row
        running = [place for place, row in enumerate(rows) if row is not None]
        if not running:
            return
        if len(running) > LEAVE_AT * len(rows):
            state.feed(chosen.new_tensor(token_ids))
            continue
        rows, token_ids = [rows[place] for place in running], [token_ids[place] for place in running]
        state.feed(chosen.new_tensor(token_ids), chosen.new_tensor(running))
