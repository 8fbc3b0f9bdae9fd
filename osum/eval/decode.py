"""From shards and a model to hypotheses: every task of a test set, with its own audio and with another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from osum import log, tasks
from osum.audio.frames import MAX_SAMPLES, WINDOW_SAMPLES
from osum.data.collate import collate_prefixes
from osum.data.drops import Drops
from osum.data.examples import Dropped, Item, Prompts, make_example
from osum.data.index import Index
from osum.eval.hypotheses import Hypothesis
from osum.eval.swap import derangement
from osum.model.generate import Generated, generate
from osum.model.speech_llm import SpeechLLM
from osum.rng import rng_for
from osum.text.template import SulmTemplate
from osum.types import Batch, Example, Utterance


class Decoder:
    """A model with what turns utterances into its input and its output into text."""

    def __init__(
        self,
        model: SpeechLLM,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Prompts,
        device: torch.device,
        batch_size: int = 32,
        num_beams: int = 1,
    ) -> None:
        """`prompts` are those of training; the first of each task and language is used."""
        self._model, self._tokenizer, self._prompts, self._device = model.to(device).eval(), tokenizer, prompts, device
        self._template = SulmTemplate(tokenizer)
        self._batch_size, self._num_beams = batch_size, num_beams

    def decode(
        self,
        index: Index,
        task: str,
        rows: Sequence[int],
        max_new_tokens: int,
        drops: Drops,
        swap_seed: int | None = None,
    ) -> list[Hypothesis]:
        """Return hypotheses in the order of `rows`; with `swap_seed` each is made from another row's audio.

        Damaged utterances, and those shorter than a window or longer than Whisper's 30 s, are left out and counted in
        `drops`.
        """
        heard = list(rows) if swap_seed is None else _swapped(rows, swap_seed, task)
        longest_first = sorted(range(len(rows)), key=lambda i: -int(index.rows[heard[i]]["num_samples"]))
        found: dict[int, Hypothesis] = {}
        label = task if swap_seed is None else f"{task} (swapped audio)"
        with log.progress(total=len(rows), desc=f"decode {label}", unit="utt") as bar:
            for start in range(0, len(rows), self._batch_size):
                chosen = longest_first[start : start + self._batch_size]
                made = [(i, self._example(index, task, rows[i], heard[i], drops)) for i in chosen]
                kept = [(i, e) for i, e in made if e is not None]
                if kept:
                    written = self._write(collate_prefixes([e for _, e in kept], self._template), max_new_tokens)
                    for (i, e), w in zip(kept, written, strict=True):
                        found[i] = self._hypothesis(e, index.utterance(rows[i]), index.key(heard[i]), w)
                bar.update(len(chosen))
        return [found[i] for i in sorted(found)]

    def _example(self, index: Index, task: str, row: int, heard_row: int, drops: Drops) -> Example | None:
        drops.read += 1
        made = make_example(index, Item(row, task, 0), {task: tasks.get(task)}, self._prompts)
        if not isinstance(made, Dropped) and heard_row != row:
            try:
                made = replace(made, audio=index.audio(heard_row))
            except ValueError as err:
                made = Dropped(made.key, task, f"corrupt: {err}")
        if isinstance(made, Dropped):
            drops.add(made.reason.split(":")[0], made.key, defect=True)
            return None
        if not WINDOW_SAMPLES <= len(made.audio) <= MAX_SAMPLES:
            drops.add("too_short" if len(made.audio) < WINDOW_SAMPLES else "too_long", made.key)
            return None
        drops.used += 1
        return made

    def _write(self, prefixes: Batch, max_new_tokens: int) -> list[Generated]:
        eos = self._template.eos_id
        return generate(self._model, prefixes.to(self._device), eos, max_new_tokens, self._num_beams)

    def _hypothesis(self, example: Example, utterance: Utterance, audio_key: str, written: Generated) -> Hypothesis:
        return Hypothesis(
            key=example.key,
            task=example.task,
            prompt=example.prompt,
            hypothesis=self._tokenizer.decode(written.ids, skip_special_tokens=True),
            utterance=utterance,
            audio_key=audio_key,
            num_tokens=len(written.ids),
            truncated=written.truncated,
        )


def rows_of(index: Index, task: str, max_utts: int | None) -> list[int]:
    """Return the rows that serve a task, at most so many, spread evenly over the set."""
    if task in index.header.tasks:
        bit = np.uint64(1 << index.header.tasks.index(task))
        served = np.flatnonzero(index.rows["tasks"] & bit).tolist()
    else:
        served = [row for row in range(len(index)) if _serves(index, row, tasks.get(task))]
    if max_utts is None or len(served) <= max_utts:
        return served
    return [served[i * len(served) // max_utts] for i in range(max_utts)]


def _serves(index: Index, row: int, task: tasks.Task) -> bool:
    try:
        return task.target(index.utterance(row)) is not None
    except ValueError:
        return True  # damaged: decoding will drop and count it


def _swapped(rows: Sequence[int], seed: int, task: str) -> list[int]:
    if len(rows) < 2:
        raise ValueError(f"task {task}: {len(rows)} utterance(s) can't be swapped; use more, or --swapped false")
    return [rows[i] for i in derangement(len(rows), rng_for(seed, "swap", task))]
