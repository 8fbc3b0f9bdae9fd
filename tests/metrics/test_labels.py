"""Scores of classification."""

import pytest

from osum.metrics.labels import baselines, label_scores

REFS = ["happy", "happy", "happy", "sad"]


def test_literal_scores() -> None:
    scores = label_scores(REFS, ["happy", "happy", "sad", "sad"], ["sad", "happy", "fear"])
    assert scores["accuracy"] == 0.75
    assert scores["uar"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert (scores["majority"], scores["chance"]) == (0.75, 0.5625 + 0.0625)
    assert scores["confusion"] == {
        "labels": ["sad", "happy", "fear"],
        "matrix": [[1, 0, 0], [1, 2, 0], [0, 0, 0]],
        "unparsed": [0, 0, 0],
    }


def test_missing_answers_are_wrong_and_counted() -> None:
    scores = label_scores(REFS, ["happy", None, None, "sad"], ["sad", "happy"])
    assert (scores["accuracy"], scores["unparsed"]) == (0.5, 2)
    assert scores["confusion"]["matrix"] == [[1, 0], [0, 1]]
    assert scores["confusion"]["unparsed"] == [0, 2]


def test_classes_without_reference_do_not_lower_the_means() -> None:
    scores = label_scores(["sad"], ["sad"], ["sad", "happy"])
    assert (scores["macro_f1"], scores["uar"]) == (1.0, 1.0)


def test_baselines_take_tuples_too() -> None:
    assert baselines([("old", "male"), ("old", "female")]) == {"majority": 0.5, "chance": 0.5}
