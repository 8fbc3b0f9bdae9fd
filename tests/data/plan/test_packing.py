import numpy as np
import pytest

from osum.data.plan.packing import complete, first_fit


def test_items_go_to_the_oldest_pack_with_room():
    tokens, samples = np.array([6, 5, 4, 5, 3]), np.array([1, 1, 1, 1, 1])
    assert first_fit(tokens, samples, 10, 100) == [[0, 2], [1, 3], [4]]


def test_the_audio_budget_binds_too():
    assert first_fit(np.array([1, 1, 1]), np.array([5, 6, 5]), 100, 10) == [[0, 2], [1]]


def test_packs_keep_both_budgets_and_are_nearly_full():
    rng = np.random.default_rng(0)
    tokens, samples = rng.integers(5, 120, 5_000), rng.integers(8_000, 160_000, 5_000)
    packs = first_fit(tokens, samples, 1_000, 1_920_000)
    assert sorted(i for p in packs for i in p) == list(range(5_000))
    assert all(tokens[p].sum() <= 1_000 and samples[p].sum() <= 1_920_000 for p in packs)
    fill = [max(tokens[p].sum() / 1_000, samples[p].sum() / 1_920_000) for p in packs]
    assert np.mean(fill) > 0.985


def test_batches_are_completed_by_splitting():
    assert complete([[1, 2, 3], [4], [5, 6]], 2) == [[1, 2], [4], [5, 6], [3]]
    assert complete([[1], [2]], 2) == [[1], [2]]
    assert complete([[1]], 3) == [[1], [], []]


@pytest.mark.parametrize("multiple", [1, 2, 3, 7])
def test_completing_loses_nothing(multiple):
    packs = [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(5)]
    completed = complete(packs, multiple)
    assert len(completed) % multiple == 0
    assert sorted(i for p in completed for i in p) == list(range(15))
