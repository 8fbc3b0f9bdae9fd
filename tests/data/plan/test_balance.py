from itertools import combinations

import numpy as np
import pytest

from osum.data.plan.balance import Budget, Sizes, deal, deal_all, totals


def drawn(count, seed=0):
    """Sizes of utterances of 3.6 s on average, and noise."""
    rng = np.random.default_rng(seed)
    duration_s = np.clip(rng.lognormal(1.1, 0.6, count), 0.4, 30)
    tokens = np.ceil(duration_s * 12.5).astype(np.int64) + rng.integers(10, 60, count)
    costs = (16 * (tokens + 20 * (duration_s + 0.0083 * duration_s**2))).astype(np.int64)
    return Sizes(tokens, (duration_s * 16_000).astype(np.int64), costs), rng.random(count)


def few(tokens):
    tokens = np.array(tokens)
    return Sizes(tokens, np.ones_like(tokens), tokens), np.zeros(len(tokens))


def test_the_largest_goes_where_least_is():
    sizes, noise = few([5, 4, 3, 2])
    assert deal(sizes, Budget(7, 100), 2, noise).tolist() == [0, 1, 1, 0]


def test_packs_over_a_budget_exchange_items_with_others():
    sizes, noise = few([9, 8, 6, 5, 2])  # in rounds 9 + 5 + 2 and 8 + 6
    assert deal(sizes, Budget(16, 100), 2, noise).tolist() == [0, 1, 1, 0, 0]
    assert deal(sizes, Budget(15, 100), 2, noise).tolist() == [1, 0, 1, 0, 0]


def test_what_no_pack_has_room_for_is_left():
    sizes, noise = few([6, 6, 6])
    owner = deal(sizes, Budget(10, 100), 2, noise)
    assert sorted(owner.tolist()) == [-1, 0, 1]
    assert deal_all(sizes, Budget(10, 100), 1, noise)[1] == 3
    assert deal_all(sizes, Budget(10, 100), 4, noise)[1] == 4


@pytest.mark.parametrize("budget", [Budget(8192, 10**9), Budget(10**6, 16_000 * 400)])
def test_packs_are_alike_in_everything(budget):
    sizes, noise = drawn(20_000)
    num_packs = int(sizes.fewest_packs(budget) / 0.995)
    owner = deal(sizes, budget, num_packs, noise)
    assert owner.min() == 0
    tokens, samples, costs = (totals(of, owner, num_packs) for of in (sizes.tokens, sizes.samples, sizes.costs))
    assert tokens.max() <= budget.tokens and samples.max() <= budget.samples
    assert costs.max() / costs.mean() < 1.02
    assert min(tokens.max() / tokens.mean(), samples.max() / samples.mean()) < 1.005


def test_few_items_a_pack_still_fill_it():
    sizes, noise = drawn(3_000)
    budget = Budget(10**6, 16_000 * 40)
    owner, num_packs = deal_all(sizes, budget, 2, noise)
    assert totals(sizes.samples, owner, num_packs).max() <= budget.samples
    assert sizes.fewest_packs(budget) / num_packs > 0.99


def test_other_noise_gives_other_packs():
    sizes, noise = drawn(2_000)
    other = np.random.default_rng(7).random(2_000)
    packs = [deal(sizes, Budget(1_000, 10**9), 220, n) for n in (noise, noise, other)]
    assert (packs[0] == packs[1]).all()
    together = [{(i, j) for k in range(220) for i, j in combinations(np.flatnonzero(p == k), 2)} for p in packs]
    assert len(together[0] & together[2]) < 0.05 * len(together[0])


def test_nothing_is_dealt_into_empty_packs():
    sizes, noise = few(np.zeros(0, dtype=np.int64))
    assert deal(sizes, Budget(10, 10), 3, noise).tolist() == []
    assert deal_all(sizes, Budget(10, 10), 3, noise)[1] == 3
