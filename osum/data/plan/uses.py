"""What rows are used for: the task, the prompt and the speed drawn for each, and what it then takes. Pure.

Dimension letters: R rows of a part, n of them that are used, K tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    return 16 * (tokens + cfg.cost_per_s * audio_s + cfg.cost_per_s2 * audio_s**2)


@dataclass(frozen=True)
class Expected:
    """Expectations over the draws of task, prompt and speed; (R,) each, float64."""

    serves: np.ndarray
    """Bool: rows that serve some task."""
    tokens: np.ndarray
    squared_tokens: np.ndarray
    samples: np.ndarray
    samples_variance: np.ndarray
    costs: np.ndarray


def expect_uses(part: Lengths, cfg: PlanConfig, mix: TaskMix) -> Expected:
    """Foretell what `draw_uses` draws for the rows of a part."""
    sets = usable(part, cfg).sets
    serves = sets > 0
    chances = np.where(serves[:, None], mix.of(np.where(serves, sets, mix.patterns[0])), 0.0)
    means, variances = _prefix_moments(part)
    languages, samples = part.rows["language"], num_samples(part.rows).astype(np.float64)
    tokens, squared_tokens, longer, squared_longer = (np.zeros(len(samples)) for _ in range(4))
    options = list(_options(part, sets, cfg))
    for fixed, added in options:
        positions = means[languages] + fixed
        tokens += np.einsum("nk,nk->n", chances, positions) / len(options)
        squared_tokens += np.einsum("nk,nk->n", chances, positions**2 + variances[languages]) / len(options)
        longer += np.einsum("nk,nk->n", chances, added) / len(options)
        squared_longer += np.einsum("nk,nk->n", chances, added**2) / len(options)
    samples, variance = samples + longer, np.maximum(squared_longer - longer**2, 0.0)
    # The cost is quadratic in the audio: its mean is the cost of the mean, and that of the variance.
    mean_costs = costs(tokens, samples, cfg) + 16 * cfg.cost_per_s2 * variance / SAMPLE_RATE_HZ**2
    return Expected(serves, tokens, squared_tokens, samples, variance, mean_costs)


def _options(part: Lengths, sets: np.ndarray, cfg: PlanConfig) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each speed, all as likely: (R, K) positions of speech and target, and samples by which audio is longer.

    Without configured speeds there is one.
    """
    fixed = part.fixed_positions()
    if not cfg.speeds:
        yield fixed, np.zeros(fixed.shape)
    for _, sped, fits in at_speeds(part, sets, cfg):
        longer = (num_samples(sped.rows) - num_samples(part.rows)).astype(np.float64)
        yield np.where(fits, sped.fixed_positions(), fixed), np.where(fits, longer[:, None], 0.0)


def _prefix_moments(lengths: Lengths) -> tuple[np.ndarray, np.ndarray]:
    """(G, K) mean and variance of the prefix over the prompts of each language and task."""
    counts = np.maximum(lengths.num_prompts, 1)
    known = np.arange(lengths.prefix_lens.shape[2]) < lengths.num_prompts[:, :, None]
    means = np.where(known, lengths.prefix_lens, 0).sum(axis=2) / counts
    variances = np.where(known, (lengths.prefix_lens - means[:, :, None]) ** 2, 0.0).sum(axis=2) / counts
    return means.T, variances.T
