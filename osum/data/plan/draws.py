"""What a row is used for in an epoch: how often, in which task, with which prompt. Pure, keyed by the utterance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osum.audio.frames import MAX_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from osum.data.hashing import mix, salt, uniform
from osum.data.plan.config import PlanConfig
from osum.data.plan.lengths import Lengths, num_samples
from osum.data.plan.shares import task_sets


@dataclass(frozen=True)
class Usable:
    """Which rows can serve which tasks within the budgets. R rows, K tasks."""

    sets: np.ndarray
    """(R,) uint64 with bit k for task k; 0 for a row that serves nothing."""
    unfit: np.ndarray
    """(K,) rows whose target is over the budget in this task."""
    dropped: dict[str, np.ndarray]
    """Reason -> (rows,) numbers of those that serve nothing: too_long, too_short, no_task."""


def usable(lengths: Lengths, cfg: PlanConfig) -> Usable:
    """Compare every row and task with the budgets."""
    samples, served = num_samples(lengths.rows), lengths.target_lens >= 0
    serving = task_sets(served)
    sets, longest = serving.copy(), lengths.longest_prefix()
    # The task that takes most may fit, whichever it is: few rows are near the budget and need a look at each.
    largest = lengths.num_speech(samples) + longest.max() + _row_maxima(lengths.target_lens)
    near = np.flatnonzero(largest > cfg.max_tokens)
    limits = cfg.max_tokens - longest.T[lengths.rows["language"][near]]
    fits = served[near] & (lengths.num_speech(samples[near])[:, None] + lengths.target_lens[near] <= limits)
    unfit = served[near].sum(axis=0) - fits.sum(axis=0)
    sets[near] = task_sets(fits)
    short = samples < WINDOW_SAMPLES
    max_samples = min(cfg.max_audio_s * SAMPLE_RATE_HZ, MAX_SAMPLES)  # of a pack, and of Whisper's position table
    over = ~short & (serving > 0) & ((samples > max_samples) | (sets == 0))
    dropped = {
        "too_long": np.flatnonzero(over),
        "too_short": np.flatnonzero(short),
        "no_task": np.flatnonzero(~short & (serving == 0)),
    }
    sets[over | short] = 0
    return Usable(sets, unfit, dropped)


def _row_maxima(table: np.ndarray) -> np.ndarray:
    """(R, K) -> (R,), column by column: rows are too short to be gone through one by one."""
    found = table[:, 0].copy()
    for column in table.T[1:]:
        np.maximum(found, column, out=found)
    return found


def none_usable(folder: Path, dropped: dict[str, np.ndarray]) -> ValueError:
    """Return the error for a split of which nothing can be planned."""
    counts = {reason: len(rows) for reason, rows in dropped.items()}
    return ValueError(f"{folder}: no utterance can be used ({counts}); raise max_tokens, or check tasks and weights")


def num_visits(weights: np.ndarray, key_hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """(n,) visits an epoch -> (n,) int64 visits in this one: exact over epochs, a row's turn is keyed by its name."""
    phase = uniform(mix(key_hashes, salt("corpus", seed, 0)))
    return (np.floor(weights * (epoch + 1) + phase) - np.floor(weights * epoch + phase)).astype(np.int64)


@dataclass(frozen=True)
class Draws:
    """Independent hashes per (row, copy) of an epoch, one stream per purpose."""

    key_hashes: np.ndarray
    """(n,) uint64."""
    copies: np.ndarray
    """(n,) which repetition of the row within the epoch."""
    seed: int
    epoch: int

    def bits(self, purpose: str) -> np.ndarray:
        """(n,) uint64."""
        keyed = mix(self.key_hashes, salt(purpose, self.seed, self.epoch))
        return mix(keyed + self.copies.astype(np.uint64), np.uint64(0))

    def uniform(self, purpose: str) -> np.ndarray:
        """(n,) float64 in [0, 1)."""
        return uniform(self.bits(purpose))
