"""Dealing items into so many packs that are alike: nearly equal positions, audio and cost. Pure, vectorised.

Dimension letters: n items, m packs, k places in a pack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from osum.data.plan.packing import first_fit

JITTER = 0.1
"""Keyed noise on the cost by which items are sorted: who shares a pack changes from epoch to epoch."""
COST_ROUNDS = 0.3
"""Share of the rounds, those of the costly items, that even out the cost; the others even out the binding budget."""
FINE_ROUNDS = 0.1
"""Share of the items, the cheapest, that are sorted by the binding budget: the last differences are small."""
MAX_EXCHANGES = 60
"""Sweeps of exchanges between packs over the budget and packs with room."""
MAX_COMBINATIONS = 500_000
"""Pairs of items that a sweep compares, which bounds its memory."""


@dataclass(frozen=True)
class Budget:
    """What one pack holds at most."""

    tokens: int
    samples: int


@dataclass(frozen=True)
class Sizes:
    """What each item takes."""

    tokens: np.ndarray
    """(n,) int64 decoder positions."""
    samples: np.ndarray
    """(n,) int64 audio samples."""
    costs: np.ndarray
    """(n,) int64 declared cost of encoder and decoder."""

    def fewest_packs(self, budget: Budget) -> float:
        """Packs that they would fill to the last position or sample of the binding budget."""
        return max(int(self.tokens.sum()) / budget.tokens, int(self.samples.sum()) / budget.samples)


def deal(sizes: Sizes, budget: Budget, num_packs: int, noise: np.ndarray) -> np.ndarray:
    """Deal items into packs: (n,) number of the pack of each item, or -1 where no pack has room for it.

    `noise` is (n,) in [0, 1). Items come in rounds, the costly ones first, one for each pack: the largest of a round
    goes to the pack that has least so far. Packs over a budget then exchange items with packs that have room.
    """
    placed = _in_rounds(sizes, budget, num_packs, noise)
    if sizes.fewest_packs(budget) <= num_packs:
        _exchange(placed, sizes, budget)
    owner = np.full(len(noise), -1, dtype=np.int64)
    places, packs = np.nonzero(placed >= 0)
    owner[placed[places, packs]] = packs
    _take_out(owner, sizes, budget, num_packs)
    return owner


def deal_all(sizes: Sizes, budget: Budget, multiple: int, noise: np.ndarray) -> tuple[np.ndarray, int]:
    """Deal all items into as few packs as `deal` can, a multiple of `multiple`: (n,) pack numbers, number of packs."""
    num_packs = multiple * max(1, math.ceil(sizes.fewest_packs(budget) / multiple))
    while True:
        owner = deal(sizes, budget, num_packs, noise)
        left = np.flatnonzero(owner < 0)
        if len(left) == 0:
            return owner, num_packs
        missing = len(first_fit(sizes.tokens[left], sizes.samples[left], budget.tokens, budget.samples))
        num_packs += multiple * max(1, 3 * missing // (4 * multiple))


def totals(values: np.ndarray, owner: np.ndarray, num_packs: int) -> np.ndarray:
    """(n,) sizes and (n,) pack numbers -> (m,) int64 sums; items of pack -1 are left out."""
    found = np.zeros(num_packs, dtype=np.int64)
    np.add.at(found, owner[owner >= 0], values[owner >= 0])
    return found


def _in_rounds(sizes: Sizes, budget: Budget, num_packs: int, noise: np.ndarray) -> np.ndarray:
    """Return (k, m) item of each place, -1 where there is none."""
    n, num_rounds = len(noise), -(-len(noise) // num_packs)
    binding = _binding(sizes, budget)
    order = _descending(sizes.costs * (1 + JITTER * noise))
    fine = order[n - int(n * FINE_ROUNDS) :]
    order = np.concatenate([order[: n - len(fine)], fine[_descending(binding[fine])]])
    placed = np.full((num_rounds, num_packs), -1, dtype=np.int64)
    load, cost = np.zeros(num_packs, dtype=np.int64), np.zeros(num_packs, dtype=np.int64)
    for r in range(num_rounds):
        items = order[r * num_packs : (r + 1) * num_packs]
        by, so_far = (sizes.costs, cost) if r < num_rounds * COST_ROUNDS else (binding, load)
        packs = np.argsort(so_far, kind="stable")[: len(items)]
        items = items[np.argsort(-by[items], kind="stable")]
        placed[r, packs] = items
        load[packs] += binding[items]
        cost[packs] += sizes.costs[items]
    return placed


def _binding(sizes: Sizes, budget: Budget) -> np.ndarray:
    tokens_bind = int(sizes.tokens.sum()) * budget.samples >= int(sizes.samples.sum()) * budget.tokens
    return sizes.tokens if tokens_bind else sizes.samples


def _descending(values: np.ndarray) -> np.ndarray:
    """Order from the largest to the smallest, by 65,536 steps: a radix sort, and the same on every processor."""
    steps = (values * (65_535.0 / max(1.0, float(values.max(initial=0.0))))).astype(np.uint16)
    return np.argsort(65_535 - steps, kind="stable")


def _exchange(placed: np.ndarray, sizes: Sizes, budget: Budget) -> None:
    """Even out packs over a budget, in place, until none is, or nothing helps."""
    # An item more, of size 0, stands for an empty place: exchanging it moves an item.
    tokens, samples = np.append(sizes.tokens, 0), np.append(sizes.samples, 0)
    k, m = placed.shape
    for _ in range(MAX_EXCHANGES):
        loads = np.stack([tokens[placed].sum(axis=0), samples[placed].sum(axis=0)])
        pressure = np.maximum(loads[0] / budget.tokens, loads[1] / budget.samples)
        order = np.argsort(pressure, kind="stable")
        count = min(int((pressure > 1).sum()), m // 2, max(1, MAX_COMBINATIONS // max(1, k**2)))
        if count == 0:
            return
        low, high = order[:count], order[::-1][:count]
        given = [of[placed[:, high]].T[:, :, None] - of[placed[:, low]].T[:, None, :] for of in (tokens, samples)]
        after = np.maximum(
            _pressure(loads[:, high, None, None] - np.stack(given), budget),
            _pressure(loads[:, low, None, None] + np.stack(given), budget),
        ).reshape(count, -1)
        best = after.argmin(axis=1)
        better = after[np.arange(count), best] < pressure[high]
        if not better.any():
            return
        i, j = best[better] // k, best[better] % k
        high, low = high[better], low[better]
        placed[i, high], placed[j, low] = placed[j, low], placed[i, high]


def _pressure(loads: np.ndarray, budget: Budget) -> np.ndarray:
    return np.maximum(loads[0] / budget.tokens, loads[1] / budget.samples)


def _take_out(owner: np.ndarray, sizes: Sizes, budget: Budget, num_packs: int) -> None:
    """Take the smallest items out of packs that are still over a budget, in place; move them to packs with room."""
    loads = (totals(of, owner, num_packs) for of in (sizes.tokens, sizes.samples))
    over = np.logical_or(*(load > most for load, most in zip(loads, (budget.tokens, budget.samples), strict=True)))
    items = np.flatnonzero(over[owner])
    items = items[np.lexsort((-sizes.tokens[items], owner[items]))]
    taken = np.logical_or(
        _running(sizes.tokens[items], owner[items]) > budget.tokens,
        _running(sizes.samples[items], owner[items]) > budget.samples,
    )
    owner[items[taken]] = -1
    _put(items[taken], owner, sizes, budget, num_packs)


def _running(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n,) values and (n,) ascending group numbers -> (n,) sums within each group up to and with each value."""
    sums = np.cumsum(values)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return sums - np.repeat(sums[starts] - values[starts], np.diff(np.append(starts, len(groups))))


def _put(items: np.ndarray, owner: np.ndarray, sizes: Sizes, budget: Budget, num_packs: int) -> None:
    """Put items, the largest first, into the first pack with room, in place; those without stay outside."""
    tokens_left = budget.tokens - totals(sizes.tokens, owner, num_packs)
    samples_left = budget.samples - totals(sizes.samples, owner, num_packs)
    # Room only shrinks: what is larger than any room there is now need not be tried.
    small = (sizes.tokens[items] <= tokens_left.max()) & (sizes.samples[items] <= samples_left.max())
    for item in items[small][np.argsort(-sizes.tokens[items[small]], kind="stable")]:
        fits = (sizes.tokens[item] <= tokens_left) & (sizes.samples[item] <= samples_left)
        pack = int(fits.argmax())
        if fits[pack]:
            owner[item] = pack
            tokens_left[pack] -= sizes.tokens[item]
            samples_left[pack] -= sizes.samples[item]
