"""The order of training: a pure function of (index, lengths, config, seed, epoch), the same on every rank and worker.

An epoch visits each row once (or as often as the weight of its corpus says), in one task, with one prompt and at one
speed, drawn by hashes of (seed, epoch, key). A global batch is G packs, one per virtual rank; rank r of W serves the
virtual ranks r, r + W, ... Packs of a batch are alike in decoder positions, audio and declared cost.

Nothing is planned before it is needed. An epoch is cut into cells, each for some virtual ranks and some tens of steps,
by what its shards are expected to take; rows are read, drawn and packed cell by cell, and no cell depends on another,
nor an epoch on the ones before it. A corpus of few shards is one cell, and packed as tightly as can be. Should the
items of a cell not fit into its packs, the last step of its window has more than G packs: nothing is lost or repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b

import numpy as np

from osum import log
from osum.data.examples import Item
from osum.data.plan.cells import Cell, draw_items, pack_cell
from osum.data.plan.config import PlanConfig
from osum.data.plan.draws import none_usable, num_visits, usable
from osum.data.plan.layout import Line, Shape, draw_line, shape
from osum.data.plan.lengths import Lengths, num_samples
from osum.data.plan.packing import complete, first_fit
from osum.data.plan.packs import Packs
from osum.data.plan.shares import in_sets
from osum.data.plan.survey import Survey, corpus_weights, pack_budget, survey
from osum.data.store.index import Index

VERSION = 2
"""Of what this and the modules below make of the same corpus: to be raised when other packs come of it."""
MAX_RESIDUAL = 0.005
"""Largest difference between the wanted and the reached share of a task that is not worth a word."""

logger = log.get(__name__)


class Planner:
    """Plans the epochs of one corpus."""

    def __init__(self, index: Index, lengths: Lengths, cfg: PlanConfig, seed: int) -> None:
        """ValueError when nothing fits the budgets, or a weight names what is not there."""
        _check_names(cfg, index, lengths)
        self.index, self.lengths, self.cfg, self.seed = index, lengths, cfg, seed
        self.survey: Survey = survey(index, lengths, cfg)
        if self.survey.num_items == 0:
            raise none_usable(index.folder, self.survey.dropped)
        self.shape: Shape = shape(self.survey, cfg)
        _report_shares(self.survey, lengths.tasks)

    @cached_property
    def identity(self) -> str:
        """Return a hash of all that decides the packs: under another one, epochs may begin at other steps."""
        named = (VERSION, self.seed, asdict(self.cfg), self.index.header.fingerprint, self.lengths.tasks)
        hashed = blake2b(repr(named).encode(), digest_size=12)
        # All lengths of targets are in the sums.
        for array in (self.lengths.prefix_lens, self.lengths.num_prompts, self.survey.starts, self.survey.sums):
            hashed.update(np.ascontiguousarray(array))
        return hashed.hexdigest()

    def epoch(self, number: int) -> EpochPlan:
        """Return the plan of an epoch; nothing is read yet."""
        return EpochPlan(self, number)


class EpochPlan:
    """The global batches of one epoch, planned where they are asked for."""

    def __init__(self, planner: Planner, epoch: int) -> None:
        self._planner, self.epoch = planner, epoch
        # Those of two windows: workers prefetch the next one while the main process is still in this one.
        self._planned = lru_cache(maxsize=2 * planner.shape.num_lanes)(self._plan_cell)
        self._num_extra = lru_cache(maxsize=None)(self._count_extra)

    @property
    def virtual_ranks(self) -> int:
        """Packs of a step, but for the few steps with extra ones."""
        return self._planner.cfg.virtual_ranks

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks by number."""
        return self._planner.lengths.tasks

    @property
    def dropped(self) -> dict[str, np.ndarray]:
        """Reason -> rows left out: too_long, too_short, no_task."""
        return self._planner.survey.dropped

    @property
    def unfit_pairs(self) -> dict[str, int]:
        """Task -> rows whose target is over the budget in this task; they serve their other tasks."""
        return {t: int(n) for t, n in zip(self.task_names, self._planner.survey.unfit, strict=True) if n}

    @cached_property
    def num_steps(self) -> int:
        """Global batches in the epoch."""
        return self.cell(0, 0).num_steps if self._planner.shape.is_one_cell else self._planner.shape.num_steps

    @cached_property
    def num_items(self) -> int:
        """(row, copy) in the epoch."""
        planner, weights = self._planner, corpus_weights(self._planner.index, self._planner.cfg)
        if (weights == np.floor(weights)).all():
            return round(planner.survey.num_items)
        parts = (part for _, part in planner.lengths.chunks(range(len(planner.lengths.rows))))
        return sum(_num_items(part, planner.cfg, weights, planner.seed, self.epoch) for part in parts)

    def num_packs(self, step: int) -> int:
        """Packs of a step: G, or a multiple of it."""
        shape = self._planner.shape
        window = shape.window_of(step)
        if step + 1 < shape.first_step(window + 1):
            return self.virtual_ranks
        return self.virtual_ranks * (1 + -(-self._num_extra(window) // self.virtual_ranks))

    def pack(self, step: int, number: int) -> list[Item]:
        """Return one pack of a global batch, that of the virtual rank or an extra one; it may be empty."""
        shape = self._planner.shape
        window = shape.window_of(step)
        if number < shape.virtual_ranks:
            slot, lane = divmod(number, shape.num_lanes)
            first = shape.first_step(window)
            return self.cell(window, lane).packs.items((step - first) * shape.ranks_in(lane) + slot)
        number -= shape.virtual_ranks
        for lane in range(shape.num_lanes):
            cell = self.cell(window, lane)
            if number < cell.num_extra:
                return cell.packs.items(len(cell.packs) - cell.num_extra + number)
            number -= cell.num_extra
        return []

    def packs(self) -> Iterator[Packs]:
        """Yield all packs, cell by cell and not in the order of steps: for counting."""
        for window in range(self._planner.shape.num_windows):
            for lane in range(self._planner.shape.num_lanes):
                yield self.cell(window, lane).packs

    def cell(self, window: int, lane: int) -> Cell:
        """Return the packs of the virtual ranks of a lane in the steps of a window."""
        return self._planned(window, lane)

    @cached_property
    def _line(self) -> Line:
        planner = self._planner
        return draw_line(planner.survey, planner.cfg, planner.shape, planner.seed, self.epoch)

    def _plan_cell(self, window: int, lane: int) -> Cell:
        planner, shape = self._planner, self._planner.shape
        weights = corpus_weights(planner.index, planner.cfg)
        parts = list(self._line.parts(shape.share_before(window, lane), shape.share_before(window, lane + 1)))
        items = draw_items(planner.lengths, planner.survey, planner.cfg, weights, parts, planner.seed, self.epoch)
        num_steps = None if shape.is_one_cell else shape.first_step(window + 1) - shape.first_step(window)
        key = f"{planner.seed}.{self.epoch}.{window}"
        return pack_cell(items, planner.cfg, self.task_names, shape.ranks_in(lane), num_steps, key)

    def _count_extra(self, window: int) -> int:
        return sum(self.cell(window, lane).num_extra for lane in range(self._planner.shape.num_lanes))


@dataclass(frozen=True)
class EvalPlan:
    """Packs of one pass over a set; the packs are complete global batches."""

    virtual_ranks: int
    packs: Packs
    dropped: dict[str, np.ndarray]
    """Reason -> rows left out: too_long, too_short, no_task."""

    @property
    def num_steps(self) -> int:
        """Global batches."""
        return len(self.packs) // self.virtual_ranks

    def pack(self, step: int, virtual_rank: int) -> list[Item]:
        """Return one pack of a global batch; empty only if there are fewer items than packs."""
        return self.packs.items(step * self.virtual_ranks + virtual_rank)


def plan_eval(index: Index, lengths: Lengths, cfg: PlanConfig, rows: Sequence[int] | None = None) -> EvalPlan:
    """Plan one pass over every (row, task) with its first prompt, longest first; weights are ignored.

    ValueError when nothing fits the budgets.
    """
    possible = usable(lengths, cfg)
    fits = in_sets(possible.sets, len(lengths.tasks))
    if rows is not None:
        chosen = np.zeros(len(index), dtype=bool)
        chosen[list(rows)] = True
        fits = fits & chosen[:, None]
    found, tasks = np.nonzero(fits)
    if len(found) == 0:
        raise none_usable(index.folder, possible.dropped)
    zeros = np.zeros(len(found), dtype=np.int64)
    positions, samples = lengths.positions(found, tasks, zeros), num_samples(index.rows)[found]
    order = np.lexsort((found, tasks, -positions, -samples))
    budget = pack_budget(cfg)
    packs = complete(first_fit(positions[order], samples[order], budget.tokens, budget.samples), cfg.virtual_ranks)
    order = order[np.concatenate([np.asarray(p, dtype=np.int64) for p in packs])]
    ends = np.cumsum([len(p) for p in packs], dtype=np.int64)
    packed = Packs(lengths.tasks, found[order], tasks[order], zeros, zeros, np.full_like(zeros, 100), ends)
    return EvalPlan(cfg.virtual_ranks, packed, possible.dropped)


def _num_items(part: Lengths, cfg: PlanConfig, weights: np.ndarray, seed: int, epoch: int) -> int:
    """Return how many (row, copy) some rows have in an epoch."""
    visits = num_visits(weights[part.rows["corpus"]], part.rows["key_hash"], seed, epoch)
    return int(visits[usable(part, cfg).sets > 0].sum())


def _check_names(cfg: PlanConfig, index: Index, lengths: Lengths) -> None:
    for name, known in (("task_weights", lengths.tasks), ("corpus_weights", index.header.corpora)):
        unknown = sorted(set(getattr(cfg, name)) - set(known))
        if unknown:
            raise ValueError(f"plan.{name} names {unknown}, but there are only {sorted(known)}; correct the config")
        if known and all(getattr(cfg, name).get(key, 1.0) == 0.0 for key in known):
            raise ValueError(f"plan.{name} are 0 for all of {sorted(known)}; give at least one of them a weight")


def _report_shares(survey: Survey, tasks: Sequence[str]) -> None:
    """Tell of task weights that can't be followed, since too few rows can serve a task, or some nothing else."""
    wanted, reached = survey.shares
    residual = np.abs(wanted - reached).max()
    if residual > MAX_RESIDUAL:
        each = " ".join(f"{t}.wanted={w:.3f} {t}.reached={r:.3f}" for t, w, r in zip(tasks, wanted, reached))
        logger.warning("plan task_weights residual=%.3f %s", residual, each)
