import numpy as np
import pytest

from osum.data.plan.shares import TaskMix, in_sets, probabilities, task_sets


def draw_tasks(fits, weights, uniforms):
    sets = task_sets(fits)
    patterns, counts = np.unique(sets, return_counts=True)
    return TaskMix.fit(patterns, counts, weights).draw(sets, uniforms)


def shares(fits, weights):
    uniforms = (np.random.default_rng(0).permutation(len(fits)) + 0.5) / len(fits)
    tasks = draw_tasks(fits, np.asarray(weights, dtype=float), uniforms)
    assert fits[np.arange(len(fits)), tasks].all()
    return np.bincount(tasks, minlength=fits.shape[1]) / len(fits)


def test_shares_follow_the_weights_where_masks_allow():
    fits = np.zeros((9_000, 3), dtype=bool)
    fits[:, 0] = fits[:4_500, 1] = fits[4_500:, 2] = True
    np.testing.assert_allclose(shares(fits, [1, 1, 1]), [1 / 3] * 3, atol=0.01)
    np.testing.assert_allclose(shares(fits, [2, 1, 1]), [1 / 2, 1 / 4, 1 / 4], atol=0.01)


def test_shares_come_as_near_as_masks_allow():
    fits = np.array([[True, False]] * 900 + [[True, True]] * 100)
    np.testing.assert_allclose(shares(fits, [1, 1]), [0.9, 0.1], atol=0.01)


def test_the_shares_that_will_be_reached_are_known():
    fits = np.array([[True, False]] * 900 + [[True, True]] * 100)
    sets, counts = np.unique(task_sets(fits), return_counts=True)
    np.testing.assert_allclose(TaskMix.fit(sets, counts, np.ones(2)).shares(counts), [0.9, 0.1], atol=1e-6)


def test_weight_zero_is_drawn_only_where_nothing_else_is_served():
    fits = np.array([[True, False]] * 100 + [[True, True]] * 300)
    np.testing.assert_allclose(shares(fits, [0, 1]), [0.25, 0.75])


def test_probabilities_sum_to_one():
    patterns = np.array([[True, True, False], [False, True, True], [True, True, True]])
    table = probabilities(patterns, np.array([10, 20, 30]), np.array([1.0, 5.0, 0.1]))
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert (table[~patterns] == 0).all()


@pytest.mark.parametrize("draw", [0.0, np.nextafter(1.0, 0.0)])
def test_extreme_draws_stay_in_range(draw):
    fits = np.array([[False, True, True, False]])
    assert draw_tasks(fits, np.ones(4), np.array([draw]))[0] in (1, 2)


def test_task_sets_are_bits():
    fits = np.array([[True, False, True], [False, True, False]])
    assert task_sets(fits).tolist() == [5, 2]
    assert in_sets(np.array([5, 2], dtype=np.uint64), 3).tolist() == fits.tolist()
    assert task_sets(np.arange(33)[None] == 32).tolist() == [2**32]
