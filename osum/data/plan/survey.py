"""What the plan has to know of a whole corpus: made once by reading index and lengths, kept beside the lengths.

A run is a range of neighbouring rows: a shard, or several if they hold few rows. A row of a corpus with weight w is
visited w times an epoch on average: visit c of a run holds the rows whose number of visits in the epoch is over c. What
a visit takes is known before tasks, prompts and speeds are drawn only as an expectation; the draws of thousands of rows
come within 0.1 % of it.

Dimension letters: Q runs, C visits at most, K tasks, G groups.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from osum import log
from osum.audio.frames import MAX_SAMPLES, SAMPLE_RATE_HZ
from osum.data.plan.balance import Budget, deal_all
from osum.data.plan.config import PlanConfig
from osum.data.plan.draws import Draws, none_usable, usable
from osum.data.plan.groups import REASONS, Groups, look
from osum.data.plan.lengths import Lengths
from osum.data.plan.shares import TaskMix
from osum.data.plan.uses import draw_uses, prefix_moments, summed_costs, visit_variances
from osum.data.store.index import Index
from osum.lock import taking_turns
from osum.outputs import atomic_write

SAMPLE_RUNS, MAX_SAMPLE_ROWS = 16, 20_000
"""How much is packed to see how full packs get."""
VARIED_RUNS, VARIED_ROWS = 256, 1_000
"""How many runs at most, and rows of each, are looked at to see how much what is drawn varies."""
NOT_SURVEYED = ("virtual_ranks", "shuffle_block_shards")
"""Options on which the survey does not depend."""
VERSION = 3

MAX_EVENED_VISITS = 1_000
"""Visits an epoch to which a temperature may raise a corpus: more is a mistake, and the sums of each are kept."""

logger = log.get(__name__)


@dataclass(frozen=True)
class Survey:
    """What a corpus holds, for one configuration of the plan."""

    starts: np.ndarray
    """(Q + 1,) int64 first row of each run, and the number of rows."""
    corpora: np.ndarray
    """(Q,) int64 corpus of the first row of each run."""
    sums: np.ndarray
    """(3, Q, C) float64 expected decoder positions, audio samples and cost of each visit."""
    variances: np.ndarray
    """(2,) float64 of the positions and samples of an epoch, by the draws of tasks, prompts, speeds and visits."""
    num_items: float
    """Expected number of (row, copy) in an epoch."""
    efficiency: float
    """Share of the binding budget that packs reach: less than 1 where utterances are large for a pack."""
    mix: TaskMix
    shares: np.ndarray
    """(2, K) float64 share of each task among the draws: as the weights want it, and as the rows allow it."""
    unfit: np.ndarray
    """(K,) rows whose target is over the budget in this task."""
    dropped: dict[str, np.ndarray]
    """Reason -> rows left out."""


def survey(index: Index, lengths: Lengths, cfg: PlanConfig) -> Survey:
    """Return the survey, from the folder of the lengths when it is there; of several ranks one makes it."""
    path = _path(lengths, cfg)
    if path is None or not (path.is_file() or os.access(path.parent, os.W_OK)):
        return make(index, lengths, cfg)
    if not path.is_file():
        with taking_turns(path):
            # Listed, and not asked for again: a network file system remembers that it was not there.
            if path.name not in os.listdir(path.parent):
                made = make(index, lengths, cfg, num_procs=len(os.sched_getaffinity(0)))  # the other ranks wait
                try:
                    _save(path, made)
                except OSError as err:
                    logger.warning("survey cache=%s not written (%s): it is made again next time", path, err)
                return made
    return _load(path)


def make(index: Index, lengths: Lengths, cfg: PlanConfig, num_procs: int = 1) -> Survey:
    """Read every row once, and some of them again to see how much what is drawn varies, and how full packs get.

    ValueError when nothing fits the budgets.
    """
    weights, seen = corpus_weights(index, cfg), look(lengths, cfg, num_procs)
    groups, dropped = seen.groups, seen.dropped
    if len(groups.sets) == 0:
        raise none_usable(index.folder, dropped)
    patterns, pattern = np.unique(groups.sets, return_inverse=True)
    # A corpus of weight 0 counts for nothing, but its task sets must be known.
    counts = np.maximum(np.bincount(pattern, groups.counts * weights[groups.corpora]), 1e-9)
    task_weights = np.array([cfg.task_weights.get(t, 1.0) for t in lengths.tasks])
    mix = TaskMix.fit(patterns, counts, task_weights)
    num_visits = max(1, int(np.ceil(weights.max(initial=0.0))))
    num_runs, expected = len(seen.corpora), _expected(groups, mix, lengths, cfg)
    sums = np.zeros((3, num_runs, num_visits))
    for visit in range(num_visits):
        present = np.clip(weights[groups.corpora] - visit, 0.0, 1.0)
        sums[:, :, visit] = [np.bincount(groups.runs, present * of, num_runs) for of in expected]
    shares = np.stack([task_weights / task_weights.sum(), mix.shares(counts)])
    visits = np.bincount(groups.runs, groups.counts * weights[groups.corpora], num_runs)
    starts = np.append(seen.starts, len(lengths.rows))
    variances = _variances(lengths, cfg, mix, starts, visits, weights)
    efficiency = _efficiency(lengths, cfg, mix, starts)
    found = (sums, variances, float(visits.sum()), efficiency, mix, shares)
    return Survey(starts, seen.corpora, *found, seen.unfit, dropped)


def _expected(groups: Groups, mix: TaskMix, lengths: Lengths, cfg: PlanConfig) -> tuple[np.ndarray, ...]:
    """Return the (G,) decoder positions, samples and cost that the rows of each group are expected to take, once."""
    chances = mix.of(groups.sets)
    prefixes = prefix_moments(lengths)[0][groups.languages] * groups.counts[:, None]
    positions, samples, squares = (
        (chances * of).sum(axis=1) for of in (prefixes + groups.targets + groups.speech, groups.samples, groups.squares)
    )
    return positions, samples, summed_costs(positions, samples / SAMPLE_RATE_HZ, squares / SAMPLE_RATE_HZ**2, cfg)


def corpus_weights(index: Index, cfg: PlanConfig) -> np.ndarray:
    """(C,) visits per utterance and epoch of each corpus of the header.

    ValueError naming a corpus that the temperature has visited more than MAX_EVENED_VISITS times an epoch.
    """
    weights = np.array([cfg.corpus_weights.get(c, 1.0) for c in index.header.corpora])
    if cfg.corpus_temperature == 1:
        return weights
    visits = weights * index.num_rows_of_corpora
    evened = np.where(visits > 0, visits, 0.0) ** (1 / cfg.corpus_temperature)
    evened *= visits.sum() / evened.sum() / np.maximum(index.num_rows_of_corpora, 1)
    for corpus, weight in zip(index.header.corpora, evened, strict=True):
        if weight > MAX_EVENED_VISITS:
            raise ValueError(
                f"plan.corpus_temperature {cfg.corpus_temperature} has {corpus} visited {weight:.0f} times; more than "
                f"{MAX_EVENED_VISITS} is a mistake: lower it, or the weight of this corpus"
            )
    return evened


def pack_budget(cfg: PlanConfig) -> Budget:
    """What a pack holds at most."""
    return Budget(cfg.max_tokens, int(cfg.max_audio_s * SAMPLE_RATE_HZ))


def _variances(
    lengths: Lengths, cfg: PlanConfig, mix: TaskMix, starts: np.ndarray, visits: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Look at all runs, or at some with a chance in proportion to their visits, and at the first rows of each."""
    shares = visits / max(visits.sum(), 1e-300)
    runs, times = np.arange(len(visits)), shares
    if len(visits) > VARIED_RUNS:
        points = (np.arange(VARIED_RUNS) + 0.5) / VARIED_RUNS
        runs, times = np.unique(np.searchsorted(shares.cumsum(), points).clip(max=len(visits) - 1), return_counts=True)
        times = times / VARIED_RUNS
    found = np.zeros(2)
    for run, share in zip(runs.tolist(), times.tolist(), strict=True):
        end = min(starts[run + 1], starts[run] + VARIED_ROWS)
        part = lengths.part([(int(starts[run]), int(end))])
        seen = weights[part.rows["corpus"]] * (usable(part, cfg).sets > 0)
        if seen.any():
            found += share * visits.sum() * visit_variances(part, cfg, mix, weights) / seen.sum()
    return found


def _efficiency(lengths: Lengths, cfg: PlanConfig, mix: TaskMix, starts: np.ndarray) -> float:
    """Pack some runs, spread evenly, and see how full the packs get."""
    chosen = np.unique(np.linspace(0, len(starts) - 2, SAMPLE_RUNS).astype(int))
    longest = MAX_SAMPLE_ROWS // len(chosen)
    part = lengths.part([(int(starts[q]), int(min(starts[q] + longest, starts[q + 1]))) for q in chosen])
    sets = usable(part, cfg).sets
    rows = np.flatnonzero(sets)
    if len(rows) == 0:
        return 1.0
    draws = Draws(part.rows["key_hash"][rows], np.zeros(len(rows), dtype=np.int64), seed=0, epoch=0)
    sizes = draw_uses(part, rows, sets, draws, mix, cfg).sizes
    budget = pack_budget(cfg)
    _, num_packs = deal_all(sizes, budget, 1, draws.uniform("order"))
    # One pack fewer was too few: then full packs are not a matter of where the number was rounded.
    return min(1.0, sizes.fewest_packs(budget) / max(1, num_packs - 1))


def _path(lengths: Lengths, cfg: PlanConfig) -> Path | None:
    if lengths.cache is None:
        return None
    asked = {name: value for name, value in asdict(cfg).items() if name not in NOT_SURVEYED}
    content = json.dumps([VERSION, lengths.cache.name, sorted(lengths.any_speed), asked], sort_keys=True).encode()
    for array in (lengths.prefix_lens, lengths.num_prompts, lengths.num_speech(np.array([MAX_SAMPLES]))):
        content += array.tobytes()
    return lengths.cache.with_name(f"survey.{hashlib.blake2b(content, digest_size=12).hexdigest()}.npz")


def _save(path: Path, made: Survey) -> None:
    arrays = {
        "starts": made.starts,
        "corpora": made.corpora,
        "sums": made.sums,
        "variances": made.variances,
        "scalars": np.array([made.num_items, made.efficiency]),
        "patterns": made.mix.patterns,
        "probabilities": made.mix.probabilities,
        "shares": made.shares,
        "unfit": made.unfit,
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{f"dropped.{reason}": rows for reason, rows in made.dropped.items()})
    atomic_write(path, buffer.getvalue())


def _load(path: Path) -> Survey:
    try:
        with np.load(path, allow_pickle=False) as found:
            return Survey(
                found["starts"],
                found["corpora"],
                found["sums"],
                found["variances"],
                float(found["scalars"][0]),
                float(found["scalars"][1]),
                TaskMix(found["patterns"], found["probabilities"]),
                found["shares"],
                found["unfit"],
                {reason: found[f"dropped.{reason}"] for reason in REASONS},
            )
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as err:
        raise ValueError(f"{path}: not a whole survey ({err}); remove it, it is made again") from err
