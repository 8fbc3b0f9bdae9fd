"""Shifts of word times."""

import pytest

from osum.metrics.timestamps import match, shift_scores

REF = [("a", 0.1, 0.3), ("b", 0.3, 0.5), ("c", 0.5, 0.9)]


def test_perfect_times() -> None:
    assert shift_scores([(REF, REF)]) == {
        "aas_ms": 0.0,
        "aas_half_ms": 0.0,
        "coverage": 1.0,
        "within_50_ms": 1.0,
        "within_100_ms": 1.0,
        "within_200_ms": 1.0,
    }


def test_only_equal_units_count() -> None:
    hyp = [("a", 0.15, 0.3), ("x", 0.3, 0.5), ("c", 0.5, 1.2)]
    scores = shift_scores([(REF, hyp)])
    assert scores["aas_ms"] == pytest.approx((50 + 300) / 2)
    assert scores["aas_half_ms"] == pytest.approx(87.5)
    assert scores["coverage"] == pytest.approx(2 / 3)
    assert (scores["within_50_ms"], scores["within_100_ms"], scores["within_200_ms"]) == (0.75, 0.75, 0.75)


def test_insertions_shift_no_pairs() -> None:
    hyp = [("z", 0.0, 0.1), *REF]
    assert [r for r, _ in match(REF, hyp)] == [h for _, h in match(REF, hyp)] == REF


def test_nothing_matched_is_null() -> None:
    scores = shift_scores([(REF, [])])
    assert (scores["aas_ms"], scores["within_50_ms"], scores["coverage"]) == (None, None, 0.0)
    assert shift_scores([])["coverage"] is None
