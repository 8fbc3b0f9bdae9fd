"""What the plan has to know of a whole corpus: made once by reading index and lengths, kept beside the lengths.

A run is a range of neighbouring rows: a shard, or several if they hold few rows. A row of a corpus with weight w is
visited w times an epoch on average: visit c of a run holds the rows whose number of visits in the epoch is over c. What
a visit takes is known before tasks, prompts and speeds are drawn only as an expectation; the draws of thousands of rows
come within 0.1 % of it.

Dimension letters: Q runs, C visits at most, K tasks, n rows of a chunk.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from osum import log
from osum.audio.frames import MAX_SAMPLES, SAMPLE_RATE_HZ
from osum.data.plan.balance import Budget, deal_all
from osum.data.plan.config import PlanConfig
from osum.data.plan.draws import Draws, none_usable, usable
from osum.data.plan.lengths import Lengths
from osum.data.plan.shares import TaskMix
from osum.data.plan.uses import draw_uses, expect_uses
from osum.data.store.index import Index
from osum.outputs import atomic_write

SAMPLE_RUNS, MAX_SAMPLE_ROWS = 16, 20_000
"""How much is packed to see how full packs get."""
MIN_RUN_ROWS = 32
"""A shard may be a single file: then some make a run."""
REASONS = ("too_long", "too_short", "no_task")
NOT_SURVEYED = ("virtual_ranks", "shuffle_block_shards")
"""Options on which the survey does not depend."""
VERSION = 2

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
    """Return the survey, from the folder of the lengths when it is there; ranks that make it at once write the same."""
    path = _path(lengths, cfg)
    if path and path.is_file():
        return _load(path)
    made = make(index, lengths, cfg)
    if path:
        try:
            _save(path, made)
        except OSError as err:
            logger.warning("survey cache=%s not written (%s): it is made again next time", path, err)
    return made


def make(index: Index, lengths: Lengths, cfg: PlanConfig) -> Survey:
    """Read every row twice: once for the task sets, whose frequencies give the task mix, once for sums.

    ValueError when nothing fits the budgets.
    """
    weights = corpus_weights(index, cfg)
    look = _first_look(lengths, cfg, weights)
    if len(look.mix.patterns) == 0:
        raise none_usable(index.folder, look.dropped)
    num_visits = max(1, int(np.ceil(weights.max(initial=0.0))))
    sums, variances = np.zeros((3, len(look.corpora), num_visits)), np.zeros(2)
    num_items = 0.0
    for first, part in lengths.chunks():
        expected = expect_uses(part, cfg, look.mix)
        runs = np.searchsorted(look.starts, np.arange(first, first + len(part.rows)), side="right") - 1
        edges = np.flatnonzero(np.diff(runs, prepend=-1))
        for visit in range(num_visits):
            present = np.clip(weights[part.rows["corpus"]] - visit, 0.0, 1.0) * expected.serves
            for measure, means in enumerate((expected.tokens, expected.samples, expected.costs)):
                np.add.at(sums[measure, :, visit], runs[edges], np.add.reduceat(present * means, edges))
            variances[0] += (present * (expected.squared_tokens - present * expected.tokens**2)).sum()
            variances[1] += (present * (1 - present) * expected.samples**2 + present * expected.samples_variance).sum()
            num_items += float(present.sum())
    efficiency = _efficiency(lengths, cfg, look.mix, look.starts)
    expected = (sums, variances, num_items, efficiency)
    return Survey(look.starts, look.corpora, *expected, look.mix, look.shares, look.unfit, look.dropped)


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


@dataclass(frozen=True)
class _FirstLook:
    """What must be known before anything can be summed up; as in `Survey`."""

    starts: np.ndarray
    corpora: np.ndarray
    mix: TaskMix
    shares: np.ndarray
    unfit: np.ndarray
    dropped: dict[str, np.ndarray]


def _first_look(lengths: Lengths, cfg: PlanConfig, weights: np.ndarray) -> _FirstLook:
    """Find the runs; count task sets, each row as often as it is visited; list what is left out."""
    counted: Counter[int] = Counter()
    unfit = np.zeros(len(lengths.tasks), dtype=np.int64)
    dropped: dict[str, list[np.ndarray]] = {reason: [np.zeros(0, dtype=np.uint32)] for reason in REASONS}
    starts, corpora, before = [], [], -1
    for first, part in lengths.chunks():
        found = usable(part, cfg)
        sets, inverse = np.unique(found.sets, return_inverse=True)
        counted.update(dict(zip(sets.tolist(), np.bincount(inverse, weights[part.rows["corpus"]]), strict=True)))
        unfit += found.unfit
        for reason, rows in found.dropped.items():
            dropped[reason].append((rows + first).astype(np.uint32))
        new = np.flatnonzero(np.diff(part.rows["shard"].astype(np.int64), prepend=before))
        starts.append(first + new)
        corpora.append(part.rows["corpus"][new])
        before = int(part.rows["shard"][-1])
    del counted[0]
    task_weights = np.array([cfg.task_weights.get(t, 1.0) for t in lengths.tasks])
    patterns = sorted(counted)
    # A corpus of weight 0 counts for nothing, but its task sets must be known.
    counts = np.array([max(counted[pattern], 1e-9) for pattern in patterns])
    mix = TaskMix.fit(np.array(patterns, dtype=np.uint64), counts, task_weights)
    shards = np.concatenate(starts)
    kept = np.unique(shards // MIN_RUN_ROWS, return_index=True)[1]  # one start in so many rows at most
    return _FirstLook(
        np.append(shards[kept], len(lengths.rows)),
        np.concatenate(corpora)[kept].astype(np.int64),
        mix,
        np.stack([task_weights / task_weights.sum(), mix.shares(counts)]),
        unfit,
        {reason: np.concatenate(rows) for reason, rows in dropped.items()},
    )


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
