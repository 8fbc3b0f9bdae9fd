"""Rows that are alike for the plan, summed up in one look through the whole corpus. Pure.

What a row is expected to take follows from its task set once the task mix is known, and the mix follows from all task
sets: sums by run, corpus, language and task set serve for both, so that no row is read twice.

Dimension letters: Q runs, G groups, K tasks, n rows of a chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from osum.data.plan.config import PlanConfig
from osum.data.plan.draws import usable
from osum.data.plan.lengths import Lengths
from osum.data.plan.uses import takes_at_speeds
from osum.data.processes import map_fresh

MIN_RUN_ROWS = 32
"""A shard may be a single file: then some make a run."""
MAX_RUNS = 250_000
"""Of a corpus with more shards than that, more make a run: their sums are held in memory."""
PROCESS_ROWS = 2_000_000
"""Rows that a process looks at: some tenths of a second of work."""
REASONS = ("too_long", "too_short", "no_task")


class Groups(NamedTuple):
    """Usable rows of the same run, corpus, language and task set."""

    runs: np.ndarray
    """(G,) int64."""
    corpora: np.ndarray
    """(G,) int64."""
    languages: np.ndarray
    """(G,) int64."""
    sets: np.ndarray
    """(G,) uint64 tasks that the rows can serve: bit k for task k."""
    counts: np.ndarray
    """(G,) int64 rows."""
    targets: np.ndarray
    """(G, K) float64 positions of the targets; meaningless for tasks that are not in the set."""
    speech: np.ndarray
    """(G, K) float64 positions of the speech; (G, 1) where it is the same in all tasks."""
    samples: np.ndarray
    """(G, K) or (G, 1) float64 audio samples."""
    squares: np.ndarray
    """(G, K) or (G, 1) float64 squares of the samples of each row."""

    def only(self, kept: np.ndarray) -> Groups:
        """(G,) bool -> those groups."""
        return Groups(*(of[kept] for of in self))


@dataclass(frozen=True)
class Look:
    """What one look through a corpus finds."""

    starts: np.ndarray
    """(Q,) int64 first row of each run."""
    corpora: np.ndarray
    """(Q,) int64 corpus of the first row of each run."""
    groups: Groups
    unfit: np.ndarray
    """(K,) rows whose target is over the budget in this task."""
    dropped: dict[str, np.ndarray]
    """Reason -> (rows,) uint32 numbers of the rows left out."""


def look(lengths: Lengths, cfg: PlanConfig, num_procs: int = 1) -> Look:
    """Read every row once, with so many processes if there are many rows; the result does not depend on them."""
    run_rows = max(MIN_RUN_ROWS, -(-len(lengths.rows) // MAX_RUNS))
    step = -(-PROCESS_ROWS // run_rows) * run_rows
    jobs = [range(start, min(start + step, len(lengths.rows))) for start in range(0, len(lengths.rows), step)]
    look_at = partial(_look_at, lengths, cfg, run_rows)
    num_procs = min(num_procs, len(jobs))
    return _joined(list(map_fresh(look_at, jobs, num_procs) if num_procs > 1 else map(look_at, jobs)))


def _look_at(lengths: Lengths, cfg: PlanConfig, run_rows: int, rows: range) -> Look:
    """Look at some rows; a run begins at the first shard that begins in each `run_rows`, of which they hold whole ones.

    Rows that belong to a run before them have run -1.
    """
    shard = int(lengths.rows["shard"][rows.start - 1]) if rows.start else -1
    block, looks = rows.start // run_rows - 1, []
    for first, part in lengths.chunks(rows):
        new = np.flatnonzero(np.diff(part.rows["shard"].astype(np.int64), prepend=shard))
        blocks = (first + new) // run_rows
        kept = new[np.diff(blocks, prepend=block) > 0]
        shard, block = int(part.rows["shard"][-1]), int(np.append(block, blocks)[-1])
        begins = np.zeros(len(part.rows), dtype=np.int64)
        begins[kept] = 1
        found = usable(part, cfg)
        groups = _grouped(part, cfg, found.sets, np.cumsum(begins) - 1)
        dropped = {reason: (first + left_out).astype(np.uint32) for reason, left_out in found.dropped.items()}
        looks.append(Look(first + kept, part.rows["corpus"][kept].astype(np.int64), groups, found.unfit, dropped))
    return _joined(looks)


def _joined(looks: list[Look]) -> Look:
    """Join what was seen of neighbouring rows."""
    before = np.cumsum([0] + [len(of.starts) for of in looks])
    groups = [of.groups._replace(runs=of.groups.runs + count) for of, count in zip(looks, before[:-1], strict=True)]
    return Look(
        np.concatenate([of.starts for of in looks]),
        np.concatenate([of.corpora for of in looks]),
        Groups(*(np.concatenate(of) for of in zip(*groups, strict=True))),
        np.sum([of.unfit for of in looks], axis=0),
        {reason: np.concatenate([of.dropped[reason] for of in looks]) for reason in REASONS},
    )


def _grouped(part: Lengths, cfg: PlanConfig, sets: np.ndarray, runs: np.ndarray) -> Groups:
    """Sum up the rows of a chunk, of (n,) task sets and runs."""
    patterns, pattern = np.unique(sets, return_inverse=True)
    names = (runs - runs[0], pattern, part.rows["corpus"], part.rows["language"])
    sizes = tuple(int(of.max()) + 1 for of in names)
    found, group = _numbered(np.ravel_multi_index(names, sizes), math.prod(sizes))
    run, pattern, corpora, languages = np.unravel_index(found, sizes)
    options = takes_at_speeds(part, sets, cfg)

    def summed(tables: list[np.ndarray]) -> np.ndarray:
        sums = [[np.bincount(group, column) for column in table.T] for table in tables]
        return np.sum(sums, axis=0).T / len(options)

    return Groups(
        runs[0] + run,
        corpora,
        languages,
        patterns[pattern],
        np.bincount(group),
        summed([option.targets for option in options]),
        summed([option.speech for option in options]),
        summed([option.samples for option in options]),
        summed([option.samples.astype(np.float64) ** 2 for option in options]),
    ).only(patterns[pattern] > 0)


def _numbered(names: np.ndarray, num_names: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) names below `num_names` -> (G,) those that occur, ascending, and (n,) which of them each is."""
    if num_names > 16 * len(names):
        return np.unique(names, return_inverse=True)
    occurs = np.zeros(num_names, dtype=bool)
    occurs[names] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[names]
