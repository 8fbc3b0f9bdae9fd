"""How an epoch is cut: into windows of steps, and a window into lanes of virtual ranks. Pure, without reading a row.

The visits of an epoch lie on a line, each as long as what it takes is expected to be. Their order is drawn so that
every corpus is spread evenly. The line is cut into cells of equal length, one for each lane of each window: a virtual
rank reads the few shards of its cell, and a shard is read by the few virtual ranks of its lane.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from osum.data.hashing import mix, salt, uniform
from osum.data.plan.config import PlanConfig
from osum.data.plan.survey import Survey, pack_budget

RANKS_PER_LANE = 16
"""Virtual ranks that share the shards of a lane."""
MIN_WINDOW_STEPS = 8
"""Shorter windows would be rounded to steps too roughly."""
DEVIATIONS = 3.5
"""Standard deviations of what a cell takes for which there is room."""
SPARE = 0.0005
"""Share of the packs that is left free on top of that: the last items must find room."""


@dataclass(frozen=True)
class Shape:
    """Numbers of an epoch that do not depend on which it is."""

    virtual_ranks: int
    num_windows: int
    num_lanes: int
    num_steps: int

    @property
    def is_one_cell(self) -> bool:
        """Whether all of the epoch is packed together; then `num_steps` is an estimate, and the packs decide."""
        return self.num_windows == self.num_lanes == 1

    def first_step(self, window: int) -> int:
        """Return the number of the first step of a window; that of the last window's end for `num_windows`."""
        return self.num_steps * window // self.num_windows

    def window_of(self, step: int) -> int:
        """Return the window of a step."""
        return min(((step + 1) * self.num_windows - 1) // self.num_steps, self.num_windows - 1)

    def ranks_in(self, lane: int) -> int:
        """Return how many virtual ranks a lane has: those whose number is `lane` modulo the number of lanes."""
        return len(range(lane, self.virtual_ranks, self.num_lanes))

    def share_before(self, window: int, lane: int) -> float:
        """Return the share of the epoch that lies before a cell, in [0, 1]."""
        start, end = self.first_step(window), self.first_step(window + 1)
        ranks = sum(self.ranks_in(before) for before in range(lane))
        return (start * self.virtual_ranks + (end - start) * ranks) / (self.num_steps * self.virtual_ranks)


def shape(survey: Survey, cfg: PlanConfig) -> Shape:
    """Choose windows, lanes and steps; the lanes follow the size of the corpus, never the number of processes."""
    budget, visits = pack_budget(cfg), int((visit_lens(survey, cfg) > 0).sum())
    limits = np.array([budget.tokens, budget.samples])
    packs = float(visit_lens(survey, cfg).sum())
    fewest_steps = max(1, math.ceil(packs / survey.efficiency / cfg.virtual_ranks))
    lanes = min(visits // cfg.shuffle_block_shards, -(-cfg.virtual_ranks // RANKS_PER_LANE))
    lanes = max(1, lanes) if fewest_steps >= MIN_WINDOW_STEPS else 1
    windows = min(-(-visits // (lanes * cfg.shuffle_block_shards)), fewest_steps // MIN_WINDOW_STEPS)
    windows = max(1, windows)
    deviation = float((np.sqrt(survey.variances / (windows * lanes)) / limits).max()) * windows * lanes
    needed = (packs / survey.efficiency + DEVIATIONS * deviation) / (1 - SPARE)
    return Shape(cfg.virtual_ranks, windows, lanes, max(1, math.ceil(needed / cfg.virtual_ranks)))


class Part(NamedTuple):
    """A visit, or what a cell has of it: the rows whose draws are in [lower, upper)."""

    run: int
    copy: int
    lower: float
    upper: float


@dataclass(frozen=True)
class Line:
    """The visits of an epoch in order."""

    runs: np.ndarray
    """(V,)."""
    copies: np.ndarray
    """(V,)."""
    ends: np.ndarray
    """(V + 1,) float64 where each visit begins, and the length of the line, in packs."""

    def parts(self, lower: float, upper: float) -> Iterator[Part]:
        """Yield what lies between two shares of the line, each in [0, 1]."""
        start, end = lower * self.ends[-1], upper * self.ends[-1]
        first = int(np.searchsorted(self.ends, start, side="right")) - 1
        for v in range(first, len(self.runs)):
            if self.ends[v] >= end:
                return
            # The same arithmetic for both sides of a cut: no row is in both, none in neither.
            cut = np.clip((np.array([start, end]) - self.ends[v]) / (self.ends[v + 1] - self.ends[v]), 0.0, 1.0)
            if cut[0] < cut[1]:
                yield Part(int(self.runs[v]), int(self.copies[v]), float(cut[0]), float(cut[1]))


def visit_lens(survey: Survey, cfg: PlanConfig) -> np.ndarray:
    """(Q, C) float64 packs that each visit fills: of the budget that binds it."""
    budget = pack_budget(cfg)
    return np.maximum(survey.sums[0] / budget.tokens, survey.sums[1] / budget.samples)


def draw_line(survey: Survey, cfg: PlanConfig, shape: Shape, seed: int, epoch: int) -> Line:
    """Draw the order of the visits: corpora spread evenly, and lanes of a window alike in cost."""
    lens = visit_lens(survey, cfg)
    runs, copies = np.nonzero(lens)
    lens, costs = lens[runs, copies], survey.sums[2][runs, copies]
    order = _spread(survey.corpora[runs], copies, runs, seed, epoch)
    middles = np.cumsum(lens[order]) - lens[order] / 2
    cuts = [shape.share_before(w, 0) * lens.sum() for w in range(1, shape.num_windows)]
    windows = np.searchsorted(cuts, middles, side="right")
    order = np.concatenate(
        [_in_lanes(order[windows == w], costs / lens, shape.num_lanes) for w in range(shape.num_windows)]
    )
    return Line(runs[order], copies[order], np.concatenate([[0.0], np.cumsum(lens[order])]))


def _spread(corpora: np.ndarray, copies: np.ndarray, runs: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Order visits so that each (corpus, copy) is spread evenly, in an order drawn for this epoch."""
    hashes = mix(mix(runs.astype(np.uint64), salt("shard", seed, epoch)) + copies.astype(np.uint64), np.uint64(0))
    groups = corpora * (int(copies.max(initial=0)) + 1) + copies
    by_group = np.lexsort((hashes, groups))
    counts = np.bincount(groups)
    ranks = np.arange(len(runs)) - (np.cumsum(counts) - counts)[groups[by_group]]
    place = np.empty(len(runs))
    place[by_group] = (ranks + uniform(mix(hashes[by_group], np.uint64(1)))) / counts[groups[by_group]]
    return np.argsort(place, kind="stable")


def _in_lanes(visits: np.ndarray, dearness: np.ndarray, num_lanes: int) -> np.ndarray:
    """Deal visits to lanes by cost, there and back, and return them lane after lane."""
    by_cost = visits[np.argsort(dearness[visits], kind="stable")]
    turn, lane = np.divmod(np.arange(len(visits)), num_lanes)
    lane = np.where(turn % 2, num_lanes - 1 - lane, lane)
    return by_cost[np.argsort(lane, kind="stable")]
