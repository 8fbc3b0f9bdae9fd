"""What rows are used for: the task, the prompt and the speed drawn for each, and what it then takes. Pure.

Dimension letters: R rows of a part, n of them that are used, K tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.plan.balance import Sizes
from osum.data.plan.config import PlanConfig
from osum.data.plan.draws import Draws, usable
from osum.data.plan.lengths import Lengths, num_samples
from osum.data.plan.shares import TaskMix, in_sets

UNCHANGED = 100
"""Percent: audio as it is."""


@dataclass(frozen=True)
class Uses:
    """What is drawn for rows."""

    tasks: np.ndarray
    """(n,) int64 task numbers."""
    prompts: np.ndarray
    """(n,) int64 which of the prompts of the task and language."""
    speeds: np.ndarray
    """(n,) uint8 percent."""
    sizes: Sizes


def draw_uses(part: Lengths, rows: np.ndarray, sets: np.ndarray, draws: Draws, mix: TaskMix, cfg: PlanConfig) -> Uses:
    """Draw for (n,) rows of a part, of which `sets` has the (R,) tasks that they can serve."""
    tasks = mix.draw(sets[rows], draws.uniform("task"))
    num_prompts = part.num_prompts[tasks, part.rows["language"][rows]]
    prompts = (draws.uniform("prompt") * num_prompts).astype(np.int64)
    tokens, samples = part.positions(rows, tasks, prompts), num_samples(part.rows)[rows]
    speeds = np.full(len(rows), UNCHANGED, dtype=np.uint8)
    if cfg.speeds:
        choice = (draws.uniform("speed") * len(cfg.speeds)).astype(np.int64)
        for number, (speed, sped, fits) in enumerate(at_speeds(part, sets, cfg)):
            here = np.flatnonzero((choice == number) & fits[rows, tasks])
            speeds[here] = round(100 * speed)
            tokens[here] = sped.positions(rows[here], tasks[here], prompts[here])
            samples[here] = num_samples(sped.rows)[rows[here]]
    return Uses(tasks, prompts, speeds, Sizes(tokens, samples, costs(tokens, samples, cfg).astype(np.int64)))


def at_speeds(part: Lengths, sets: np.ndarray, cfg: PlanConfig) -> Iterator[tuple[float, Lengths, np.ndarray]]:
    """Yield for each configured speed: the speed, what the rows then take, and (R, K) bool which may be played so.

    A (row, task) may where the task allows it and the budgets still hold, whichever prompt is drawn.
    """
    allowed = np.array([task in part.any_speed for task in part.tasks])
    for speed in cfg.speeds:
        sped = part.at_speed(speed)
        yield speed, sped, in_sets(sets & usable(sped, cfg).sets, len(part.tasks)) & allowed


def costs(tokens: np.ndarray, samples: np.ndarray, cfg: PlanConfig) -> np.ndarray:
    """(n,) decoder positions and samples -> (n,) declared cost, in sixteenths of a decoder position."""
    audio_s = samples / SAMPLE_RATE_HZ
    return summed_costs(tokens, audio_s, audio_s**2, cfg)


def summed_costs(tokens: np.ndarray, audio_s: np.ndarray, squares_s2: np.ndarray, cfg: PlanConfig) -> np.ndarray:
    """Sums over rows of their positions, seconds and squared seconds -> that of their costs, as in `costs`."""
    return 16 * (tokens + cfg.cost_per_s * audio_s + cfg.cost_per_s2 * squares_s2)


class Takes(NamedTuple):
    """What the rows of a part take at one speed, the prefix not counted; (R, K), or (R, 1) if the same in all tasks."""

    targets: np.ndarray
    """(R, K) positions of the target; meaningless where the row can't serve the task."""
    speech: np.ndarray
    """Positions of the speech."""
    samples: np.ndarray
    """Audio samples."""


def takes_at_speeds(part: Lengths, sets: np.ndarray, cfg: PlanConfig) -> list[Takes]:
    """Return what (R,) rows take at each configured speed, all as likely; without configured speeds there is one."""
    samples = num_samples(part.rows)
    plain = Takes(part.target_lens, part.num_speech(samples)[:, None], samples[:, None])
    if not cfg.speeds:
        return [plain]
    found = []
    for _, sped, fits in at_speeds(part, sets, cfg):
        samples = num_samples(sped.rows)
        taken = Takes(sped.target_lens, sped.num_speech(samples)[:, None], samples[:, None])
        found.append(Takes(*(np.where(fits, there, here) for there, here in zip(taken, plain, strict=True))))
    return found


def visit_variances(part: Lengths, cfg: PlanConfig, mix: TaskMix, weights: np.ndarray) -> np.ndarray:
    """Part, mix and visits an epoch by corpus -> (2,) float64 variance of the positions and samples of an epoch.

    By the draws of task, prompt, speed, and of the rows that are visited once more than others.
    """
    sets = usable(part, cfg).sets
    rows = np.flatnonzero(sets)
    if len(rows) == 0:
        return np.zeros(2)
    chances, languages = mix.of(sets[rows]), part.rows["language"][rows]
    means, variances = (of[languages] for of in prefix_moments(part))
    options = takes_at_speeds(part, sets, cfg)
    moments = np.zeros((2, 2, len(rows)))  # first and second, of positions and samples
    for targets, speech, samples in (Takes(*(table[rows] for table in option)) for option in options):
        for measure, (mean, variance) in enumerate(((targets + speech + means, variances), (samples.astype(float), 0))):
            moments[0, measure] += (chances * mean).sum(axis=1) / len(options)
            moments[1, measure] += (chances * (mean**2 + variance)).sum(axis=1) / len(options)
    whole, more = np.divmod(weights[part.rows["corpus"][rows]], 1.0)
    visit = np.maximum(moments[1] - moments[0] ** 2, 0.0)
    return (whole * visit + more * (moments[1] - more * moments[0] ** 2)).sum(axis=1)


def prefix_moments(lengths: Lengths) -> tuple[np.ndarray, np.ndarray]:
    """(G, K) mean and variance of the prefix over the prompts of each language and task."""
    counts = np.maximum(lengths.num_prompts, 1)
    known = np.arange(lengths.prefix_lens.shape[2]) < lengths.num_prompts[:, :, None]
    means = np.where(known, lengths.prefix_lens, 0).sum(axis=2) / counts
    variances = np.where(known, (lengths.prefix_lens - means[:, :, None]) ** 2, 0.0).sum(axis=2) / counts
    return means.T, variances.T
