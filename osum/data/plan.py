"""The order of training: a pure function of (index, lengths, config, seed, epoch), the same on every rank and worker.

An epoch visits each row once (or as often as the weight of its corpus says), in one task and with one prompt drawn by
hashes of (seed, epoch, key). Rows are shuffled within blocks of shards, so that reads stay local, and packed first-fit
into packs that keep both budgets. A global batch is G packs, one per virtual rank; rank r of W serves the virtual
ranks r, r + W, ... The last batch of an epoch is completed by splitting its packs: nothing is lost, repeated or
carried into another epoch, so an epoch never depends on the ones before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from osum.audio.frames import MAX_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from osum.data.examples import Item
from osum.data.hashing import mix, salt, uniform
from osum.data.index import Index
from osum.data.lengths import Lengths
from osum.data.packing import complete, first_fit
from osum.data.shares import draw_tasks


@dataclass
class PlanConfig:
    """How utterances are mixed and packed."""

    virtual_ranks: int = 2
    """Packs per optimizer step (G), whatever the number of processes; > 0."""
    max_tokens: int = 2048
    """Decoder positions per pack (prompt, speech, target); > 0."""
    max_audio_s: float = 120.0
    """Audio per pack, seconds; > 0."""
    task_weights: dict[str, float] = field(default_factory=dict)
    """Wanted share of each task among the draws, relative; a task that is not named has 1."""
    corpus_weights: dict[str, float] = field(default_factory=dict)
    """Visits per utterance and epoch by corpus, any positive number; a corpus that is not named has 1."""
    shuffle_block_shards: int = 8
    """Shards shuffled together, which bounds how many a rank has open; > 0."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        for name in ("virtual_ranks", "max_tokens", "max_audio_s", "shuffle_block_shards"):
            if getattr(self, name) <= 0:
                raise ValueError(f"plan.{name} is {getattr(self, name)}; it must be positive")
        for name in ("task_weights", "corpus_weights"):
            for key, weight in getattr(self, name).items():
                if weight < 0:
                    raise ValueError(f"plan.{name}.{key} is {weight}; it must not be negative")


@dataclass(frozen=True)
class EpochPlan:
    """Packs of one epoch; n items in `rows`, `tasks`, `prompts`, `copies`, pack p ends before item `ends[p]`."""

    virtual_ranks: int
    task_names: tuple[str, ...]
    rows: np.ndarray
    tasks: np.ndarray
    prompts: np.ndarray
    copies: np.ndarray
    positions: np.ndarray
    """(n,) decoder positions of each item."""
    ends: np.ndarray
    """(num_steps * virtual_ranks,) int64; packs are complete global batches."""
    dropped: dict[str, np.ndarray]
    """Reason -> rows left out: too_long, too_short, no_task."""
    unfit_pairs: dict[str, int]
    """Task -> rows whose target is over the budget in this task; they serve their other tasks."""

    @property
    def num_steps(self) -> int:
        """Global batches in the epoch."""
        return len(self.ends) // self.virtual_ranks

    def pack(self, step: int, virtual_rank: int) -> list[Item]:
        """Return one pack of a global batch; empty only if there are fewer items than packs."""
        p = step * self.virtual_ranks + virtual_rank
        start = int(self.ends[p - 1]) if p else 0
        where = range(start, int(self.ends[p]))
        return [
            Item(int(self.rows[i]), self.task_names[self.tasks[i]], int(self.prompts[i]), int(self.copies[i]))
            for i in where
        ]


def plan(index: Index, lengths: Lengths, cfg: PlanConfig, seed: int, epoch: int) -> EpochPlan:
    """Plan one training epoch. ValueError when nothing fits the budgets, or a weight names what is not there."""
    _check_names(cfg, index, lengths)
    fits, unfit_pairs, dropped = _usable(index, lengths, cfg)
    rows, copies = _draw_copies(index, np.flatnonzero(fits.any(axis=1)), cfg, seed, epoch)
    draws = _Draws(index.rows["key_hash"][rows], copies, seed, epoch)
    weights = np.array([cfg.task_weights.get(t, 1.0) for t in lengths.tasks])
    tasks = draw_tasks(fits[rows], weights, draws.uniform("task"))
    num_prompts = lengths.num_prompts[tasks, lengths.languages[rows]]
    prompts = (draws.uniform("prompt") * num_prompts).astype(np.int64)
    order = np.lexsort((draws.bits("order"), _block_of_shard(index, cfg, seed, epoch)[index.rows["shard"][rows]]))
    items = (rows[order], tasks[order], prompts[order], copies[order])
    return _packed(index, lengths, cfg, items, dropped, unfit_pairs)


def plan_eval(index: Index, lengths: Lengths, cfg: PlanConfig, rows: Sequence[int] | None = None) -> EpochPlan:
    """Plan one pass over every (row, task) with its first prompt, longest first; weights are ignored."""
    fits, unfit_pairs, dropped = _usable(index, lengths, cfg)
    if rows is not None:
        chosen = np.zeros(len(index), dtype=bool)
        chosen[list(rows)] = True
        fits = fits & chosen[:, None]
    found, tasks = np.nonzero(fits)
    zeros = np.zeros(len(found), dtype=np.int64)
    samples = index.rows["num_samples"][found].astype(np.int64)
    order = np.lexsort((found, tasks, -lengths.positions(found, tasks, zeros), -samples))
    items = (found[order], tasks[order], zeros, zeros)
    return _packed(index, lengths, cfg, items, dropped, unfit_pairs)


def _packed(
    index: Index,
    lengths: Lengths,
    cfg: PlanConfig,
    items: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    dropped: dict[str, np.ndarray],
    unfit_pairs: dict[str, int],
) -> EpochPlan:
    rows, tasks, prompts, copies = items
    if len(rows) == 0:
        counts = {reason: len(r) for reason, r in dropped.items()}
        raise ValueError(f"{index.folder}: no utterance can be used ({counts}); raise max_tokens or check the tasks")
    positions = lengths.positions(rows, tasks, prompts)
    samples = index.rows["num_samples"][rows].astype(np.int64)
    packs = first_fit(positions, samples, cfg.max_tokens, int(cfg.max_audio_s * SAMPLE_RATE_HZ))
    packs = complete(packs, cfg.virtual_ranks)
    order = np.concatenate([np.asarray(p, dtype=np.int64) for p in packs])
    return EpochPlan(
        virtual_ranks=cfg.virtual_ranks,
        task_names=lengths.tasks,
        rows=rows[order],
        tasks=tasks[order],
        prompts=prompts[order],
        copies=copies[order],
        positions=positions[order],
        ends=np.cumsum([len(p) for p in packs], dtype=np.int64),
        dropped=dropped,
        unfit_pairs=unfit_pairs,
    )


def _usable(
    index: Index, lengths: Lengths, cfg: PlanConfig
) -> tuple[np.ndarray, dict[str, int], dict[str, np.ndarray]]:
    """Which tasks each row can serve within the budgets: (R, K) bool; unfit pairs by task; rows dropped by reason."""
    samples = index.rows["num_samples"].astype(np.int64)
    served = np.asarray(lengths.target_lens) >= 0
    longest = lengths.longest_prefix()[:, lengths.languages].T + lengths.speech_lens[:, None] + lengths.target_lens
    fits = served & (longest <= cfg.max_tokens)
    unfit = (served & ~fits).sum(axis=0)
    short = samples < WINDOW_SAMPLES
    max_samples = min(cfg.max_audio_s * SAMPLE_RATE_HZ, MAX_SAMPLES)  # of a pack, and of Whisper's position table
    over = ~short & served.any(axis=1) & ((samples > max_samples) | ~fits.any(axis=1))
    dropped = {
        "too_long": np.flatnonzero(over),
        "too_short": np.flatnonzero(short),
        "no_task": np.flatnonzero(~short & ~served.any(axis=1)),
    }
    fits = fits & ~(over | short)[:, None]
    return fits, {t: int(n) for t, n in zip(lengths.tasks, unfit, strict=True) if n}, dropped


def _draw_copies(
    index: Index, rows: np.ndarray, cfg: PlanConfig, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Repeat rows by the weight of their corpus: exact over epochs, a row's turn is keyed by its name."""
    weights = np.array([cfg.corpus_weights.get(c, 1.0) for c in index.header.corpora])[index.rows["corpus"][rows]]
    phase = uniform(mix(index.rows["key_hash"][rows], salt("corpus", seed, 0)))
    times = (np.floor(weights * (epoch + 1) + phase) - np.floor(weights * epoch + phase)).astype(np.int64)
    repeated = np.repeat(rows, times)
    firsts = np.repeat(np.cumsum(times) - times, times)
    return repeated, np.arange(len(repeated)) - firsts


def _block_of_shard(index: Index, cfg: PlanConfig, seed: int, epoch: int) -> np.ndarray:
    """(num_shards,) number of the block in which a shard is read this epoch."""
    hashes = mix(np.arange(len(index.header.shards), dtype=np.uint64), salt("shard", seed, epoch))
    place = np.empty(len(hashes), dtype=np.int64)
    place[np.argsort(hashes, kind="stable")] = np.arange(len(hashes))
    return place // cfg.shuffle_block_shards


def _check_names(cfg: PlanConfig, index: Index, lengths: Lengths) -> None:
    for name, known in (("task_weights", lengths.tasks), ("corpus_weights", index.header.corpora)):
        unknown = sorted(set(getattr(cfg, name)) - set(known))
        if unknown:
            raise ValueError(f"plan.{name} names {unknown}, but there are only {sorted(known)}; correct the config")


@dataclass(frozen=True)
class _Draws:
    """Independent hashes per (row, copy) of this epoch, one stream per purpose."""

    key_hashes: np.ndarray
    copies: np.ndarray
    seed: int
    epoch: int

    def bits(self, purpose: str) -> np.ndarray:
        """(n,) uint64."""
        keyed = mix(self.key_hashes, salt(purpose, self.seed, self.epoch))
        return mix(keyed + self.copies.astype(np.uint64), np.uint64(0))

    def uniform(self, purpose: str) -> np.ndarray:
        """(n,) float64 in [0, 1)."""
        return uniform(self.bits(purpose))
