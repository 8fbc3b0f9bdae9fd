"""What the benchmark of the plan measures; each measure runs in a process of its own and prints one JSON object."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from simulated import ROWS_PER_SHARD, open_corpus
from whole_epoch import plan_whole

from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.plan import survey, uses
from osum.data.plan.cells import Cell
from osum.data.plan.config import PlanConfig
from osum.data.plan.lengths import num_samples
from osum.data.plan.planner import EpochPlan, Planner
from osum.rng import rng_for

SEED = 1
RESUMED_EPOCH = 3


@dataclass
class Clock:
    """Wall and processor seconds of the parts that are timed."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def time(self, work: Callable[[], Any]) -> Any:
        """Do some work and add what it took."""
        wall_s, cpu_s = time.perf_counter(), _cpu_s()
        result = work()
        self.wall_s += time.perf_counter() - wall_s
        self.cpu_s += _cpu_s() - cpu_s
        return result

    def figures(self) -> dict[str, float]:
        """Return both, rounded."""
        return {"wall_s": round(self.wall_s, 3), "cpu_s": round(self.cpu_s, 3)}


def config(num_ranks: int) -> PlanConfig:
    """8192 positions a pack; the audio budget does not bind."""
    return PlanConfig(virtual_ranks=num_ranks, max_tokens=8192, max_audio_s=600.0)


def measure_survey(folder: Path, num_ranks: int) -> dict[str, Any]:
    """Look through the whole corpus, once per corpus and configuration."""
    clock = Clock()
    index, lengths = open_corpus(folder)
    made = clock.time(lambda: survey.survey(index, lengths, config(num_ranks)))
    return clock.figures() | {"num_items": made.num_items, "efficiency": made.efficiency}


def measure_very_first(folder: Path, num_ranks: int) -> dict[str, Any]:
    """Plan the first step of one rank when there is no survey yet."""
    for kept in folder.glob("survey.*"):
        kept.unlink()
    clock = Clock()
    planner = clock.time(lambda: Planner(*open_corpus(folder), config(num_ranks), SEED))
    clock.time(lambda: planner.epoch(0).pack(0, 0))
    return clock.figures() | _memory_mb()


def measure_first(folder: Path, num_ranks: int, rank: int = 0, world_size: int = 512) -> dict[str, Any]:
    """Open everything and plan the first step of one rank, then of all."""
    own = Clock()
    planner = own.time(lambda: Planner(*open_corpus(folder), config(num_ranks), SEED))
    epoch = planner.epoch(0)
    own.time(lambda: [epoch.pack(0, v) for v in range(rank, num_ranks, world_size)])
    memory = _memory_mb()
    own_figures = own.figures()
    own.time(lambda: [epoch.pack(0, v) for v in range(num_ranks)])
    return {"own": own_figures | memory, "all_ranks": own.figures() | _memory_mb()}


def measure_resume(folder: Path, num_ranks: int) -> dict[str, Any]:
    """Open everything and plan some steps of a later epoch, each as after a restart."""
    walls, seen = [], {}
    for number in range(3):
        clock = Clock()
        planner = clock.time(lambda: Planner(*open_corpus(folder), config(num_ranks), SEED))
        step = int(rng_for("resume", number).integers(planner.shape.num_steps))
        rank = int(rng_for("rank", number).integers(num_ranks))
        seen[f"{step}.{rank}"] = _digest(clock.time(lambda: planner.epoch(RESUMED_EPOCH).pack(step, rank)))  # noqa: B023
        walls.append(round(clock.wall_s, 3))
    return {"wall_s": walls, "seen": seen}


def measure_whole(folder: Path, num_ranks: int) -> dict[str, Any]:
    """Plan the whole epoch at once, as before: nothing can be trained on earlier."""
    clock = Clock()
    index, lengths = open_corpus(folder)
    packs = clock.time(lambda: plan_whole(index, lengths, config(num_ranks), SEED, 0))
    return clock.figures() | _memory_mb() | {"steps": len(packs) // num_ranks}


def measure_epoch(folder: Path, num_ranks: int) -> dict[str, Any]:
    """Plan every pack of an epoch, in the order of steps, and look at what they are like."""
    index, lengths = open_corpus(folder)
    planner = Planner(index, lengths, config(num_ranks), SEED)
    epoch, clock = planner.epoch(RESUMED_EPOCH), Clock()
    found = _Found(planner, np.zeros(len(index), dtype=bool))
    for window, lane, cell in _cells(epoch, planner, clock):
        found.add(window, lane, cell)
    assert found.seen.sum() == epoch.num_items, "every row once"
    resumed = json.loads(sys.stdin.read() or "{}")
    for name, digest in resumed.items():
        step, rank = map(int, name.split("."))
        assert _digest(epoch.pack(step, rank)) == digest, "a resumed step equals the uninterrupted one"
    return clock.figures() | found.figures() | {"peak_mb": _memory_mb()["peak_mb"], "resumed_equal": len(resumed)}


def _cells(epoch: EpochPlan, planner: Planner, clock: Clock) -> Iterator[tuple[int, int, Cell]]:
    for window in range(planner.shape.num_windows):
        for lane in range(planner.shape.num_lanes):
            yield window, lane, clock.time(lambda: epoch.cell(window, lane))  # noqa: B023


@dataclass
class _Found:
    """What the packs of an epoch hold."""

    planner: Planner
    seen: np.ndarray
    num_extra: int = 0
    shards_open: int = 0
    readers: np.ndarray = field(init=False)
    loads: np.ndarray = field(init=False)
    """(3, steps, ranks) decoder positions, samples and cost of each pack."""

    def __post_init__(self) -> None:
        shape = self.planner.shape
        self.readers = np.zeros(len(self.planner.index.header.shards), dtype=np.int64)
        self.loads = np.zeros((3, shape.num_steps, shape.virtual_ranks))

    def add(self, window: int, lane: int, cell: Cell) -> None:
        """Count a cell."""
        packs, lengths, shape = cell.packs, self.planner.lengths, self.planner.shape
        assert not self.seen[packs.rows].any(), "no row twice"
        self.seen[packs.rows] = True
        self.num_extra += cell.num_extra
        rows = packs.rows.astype(np.int64)
        shards, which = np.unique(rows // ROWS_PER_SHARD, return_inverse=True)
        self.shards_open = max(self.shards_open, len(shards))
        self.readers[shards] += shape.ranks_in(lane)
        # Read as the plan reads, so that the memory is the plan's.
        part = lengths.part([(s * ROWS_PER_SHARD, (s + 1) * ROWS_PER_SHARD) for s in shards.tolist()])
        local = which * ROWS_PER_SHARD + rows % ROWS_PER_SHARD
        tokens = part.positions(local, packs.tasks, packs.prompts)
        samples = num_samples(part.rows)[local]
        steps = slice(shape.first_step(window), shape.first_step(window + 1))
        for measure, taken in enumerate((tokens, samples, uses.costs(tokens, samples, self.planner.cfg))):
            before = np.concatenate([[0], np.cumsum(taken)])[np.append(0, packs.ends)]
            planned = np.diff(before)[: cell.num_steps * shape.ranks_in(lane)]
            self.loads[measure, steps, lane :: shape.num_lanes] = planned.reshape(cell.num_steps, -1)

    def figures(self) -> dict[str, Any]:
        """Fill of both budgets, imbalance between ranks, readers."""
        cfg, (tokens, samples, cost) = self.planner.cfg, self.loads
        assert tokens.max() <= cfg.max_tokens and samples.max() <= cfg.max_audio_s * SAMPLE_RATE_HZ
        shape = self.planner.shape
        return {
            "steps": shape.num_steps,
            "windows": shape.num_windows,
            "lanes": shape.num_lanes,
            "extra_packs": self.num_extra,
            "token_fill": round(tokens.mean() / cfg.max_tokens, 4),
            "audio_fill": round(samples.mean() / cfg.max_audio_s / SAMPLE_RATE_HZ, 4),
            "token_imbalance": _imbalance(tokens),
            "cost_imbalance": _imbalance(cost),
            "shards_open": self.shards_open,
            "readers_of_a_shard": {"median": int(np.median(self.readers)), "most": int(self.readers.max())},
        }


def _imbalance(loads: np.ndarray) -> dict[str, float]:
    """(steps, ranks) -> largest over mean - 1 of each step: mean and 99th percentile."""
    found = loads.max(axis=1) / loads.mean(axis=1) - 1
    return {"mean": round(float(found.mean()), 5), "p99": round(float(np.percentile(found, 99)), 5)}


def _cpu_s() -> float:
    """Processor seconds of this process and of those that it has seen end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _digest(pack: list[Any]) -> str:
    return hashlib.blake2b(repr(pack).encode(), digest_size=8).hexdigest()


def _memory_mb() -> dict[str, float]:
    """Resident memory of this process in MB: at its peak, and what is no page of a file."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kb = {name: int(status[name].split()[0]) for name in ("VmHWM", "RssAnon")}
    return {"peak_mb": round(kb["VmHWM"] / 1e3, 1), "not_mapped_mb": round(kb["RssAnon"] / 1e3, 1)}


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "survey": measure_survey,
    "very_first": measure_very_first,
    "first": measure_first,
    "resume": measure_resume,
    "whole": measure_whole,
    "epoch": measure_epoch,
}

if __name__ == "__main__":
    name, folder, *numbers = sys.argv[1:]
    print(json.dumps(MEASURES[name](Path(folder), *map(int, numbers))))
