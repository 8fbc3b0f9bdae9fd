"""What is to be decoded: which utterances of a test set in which task, with whose audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from osum import tasks
from osum.data.store.index import Index
from osum.eval.swap import derangement
from osum.rng import rng_for


class Request(NamedTuple):
    """One hypothesis that is asked for."""

    row: int
    """Row of the utterance, which gives reference and prompt."""
    task: str
    audio_row: int
    """Row of the audio that is heard: another one's when the audio is swapped."""


def plain(rows: Sequence[int], task: str) -> list[Request]:
    """Every row with its own audio."""
    return [Request(row, task, row) for row in rows]


def swapped(rows: Sequence[int], task: str, seed: int) -> list[Request]:
    """Every row with the audio of another of them. ValueError if there is only one."""
    if len(rows) < 2:
        raise ValueError(f"task {task}: {len(rows)} utterance(s) can't be swapped; use more, or --swapped false")
    order = derangement(len(rows), rng_for(seed, "swap", task))
    return [Request(row, task, rows[i]) for row, i in zip(rows, order.tolist(), strict=True)]


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
