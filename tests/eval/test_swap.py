"""Swapped audio: every utterance hears another one, the same one for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from osum.eval.swap import derangement
from osum.rng import rng_for


@pytest.mark.parametrize("n", [2, 3, 10, 257])
def test_is_a_permutation_without_fixed_points(n: int) -> None:
    for seed in range(20):
        order = derangement(n, rng_for(seed))
        assert sorted(order.tolist()) == list(range(n))
        assert not np.any(order == np.arange(n))


def test_depends_on_the_seed_alone() -> None:
    assert derangement(2, rng_for(0)).tolist() == [1, 0]
    assert derangement(50, rng_for(7, "test", "ser")).tolist() == derangement(50, rng_for(7, "test", "ser")).tolist()
    assert derangement(50, rng_for(7)).tolist() != derangement(50, rng_for(8)).tolist()


def test_labels_agree_at_chance() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    agreement = np.mean([np.mean(labels == labels[derangement(1000, rng_for(seed))]) for seed in range(20)])
    assert agreement == pytest.approx(0.6**2 + 0.3**2 + 0.1**2, abs=0.01)


def test_nothing_and_one() -> None:
    assert derangement(0, rng_for(0)).tolist() == []
    with pytest.raises(ValueError, match="no other audio"):
        derangement(1, rng_for(0))
