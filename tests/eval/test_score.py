"""Scores of hypotheses made by hand, with literal values."""

from __future__ import annotations

import pytest

from osum.eval.score import score_set, score_sets
from osum.tasks.base import SCORES

EIGHT = ["asr", "srwt", "ved", "ser", "ssr", "sgc", "sap", "sttc"]


def emotional(utterance, emotions):
    return [utterance(f"u{i}", labels={"emotion": emotion}) for i, emotion in enumerate(emotions)]


def test_every_key_is_there(utterance, hypothesis_set):
    scores = score_sets([hypothesis_set("asr", [(utterance("a"), "hello there")])])
    assert list(scores) == ["test"]
    assert list(scores["test"]) == EIGHT
    for name, task in scores["test"].items():
        assert set(SCORES) <= task.keys()
        assert set(SCORES) <= task["swapped_audio"].keys()
        assert task["n"] == (1 if name == "asr" else 0)
    assert scores["test"]["asr"]["wer"] == 0.0
    assert scores["test"]["asr"]["accuracy"] is None
    assert scores["test"]["asr"]["swapped_audio"]["wer"] is None
    assert scores["test"]["ser"] == {
        **dict.fromkeys(SCORES),
        "n": 0,
        "swapped_audio": {**dict.fromkeys(SCORES), "n": 0},
    }


def test_missing_output_lowers_accuracy(utterance, hypothesis_set):
    refs = emotional(utterance, ["happy", "happy", "sad", "sad"])
    texts = ["hello there<happy>", "hello there<happy>", "hello there<sad>", "hello there<happy>"]
    whole = score_set(hypothesis_set("ser", list(zip(refs, texts, strict=True))))
    silent = score_set(hypothesis_set("ser", list(zip(refs, ["", *texts[1:]], strict=True))))
    assert whole["accuracy"] == 0.75
    assert whole["uar"] == 0.75
    assert whole["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert (whole["majority"], whole["chance"], whole["wer"]) == (0.5, 0.5, 0.0)
    assert (silent["n"], silent["accuracy"], silent["unparsed"], silent["wer"]) == (4, 0.5, 1, 0.25)


def test_languages_are_scored_apart(utterance, hypothesis_set):
    rows = [(utterance("a"), "hello where"), (utterance("b", "你好啊", "zh"), "你好啊")]
    scores = score_set(hypothesis_set("asr", rows))
    assert scores["wer"] == 0.2
    assert {lang: part["wer"] for lang, part in scores["by_language"].items()} == {"en": 0.5, "zh": 0.0}
    assert scores["by_language"]["zh"]["n"] == 1


def test_swapped_audio_is_scored_beside(utterance, hypothesis_set):
    refs = emotional(utterance, ["happy", "sad"])
    right = [(refs[0], "hello there<happy>"), (refs[1], "hello there<sad>")]
    wrong = [(refs[0], "good bye<sad>"), (refs[1], "good bye<happy>")]
    scores = score_sets([hypothesis_set("ser", right), hypothesis_set("ser", wrong, swapped=True)])["test"]["ser"]
    assert (scores["accuracy"], scores["wer"]) == (1.0, 0.0)
    assert (scores["swapped_audio"]["accuracy"], scores["swapped_audio"]["wer"]) == (0.0, 1.0)
    assert scores["swapped_audio"]["chance"] == 0.5


def test_combined_tasks_come_last(eight_tasks):
    scores = score_sets(eight_tasks)["test"]
    assert list(scores) == [*EIGHT, "sap+sgc"]
    assert scores["sap+sgc"]["accuracy"] == 0.75
    assert scores["sap+sgc"]["fields"]["gender"]["accuracy"] == 0.75
    assert scores["sttc"]["exact"] == 0.75
    assert scores["srwt"]["aas_ms"] == 0.0
    assert scores["srwt"]["coverage"] == 0.75
    assert scores["srwt"]["parse_failures"] == 1


def test_damaged_audio_may_be_missed_by_other_utterances(utterance, hypothesis_set):
    rows = [(utterance(key), "hello there") for key in "abc"]
    scores = score_sets([hypothesis_set("asr", rows[:2]), hypothesis_set("asr", rows[1:], swapped=True)])
    assert (scores["test"]["asr"]["n"], scores["test"]["asr"]["swapped_audio"]["n"]) == (2, 2)


def test_sets_that_do_not_fit(utterance, hypothesis_set):
    rows = [(utterance("a"), ""), (utterance("b"), "")]
    with pytest.raises(ValueError, match="'test', task 'asr': decoded with swapped audio only"):
        score_sets([hypothesis_set("asr", rows, swapped=True)])
    with pytest.raises(ValueError, match="1 hypothesis sets are of a test set and task already read"):
        score_sets([hypothesis_set("asr", rows), hypothesis_set("asr", rows)])
    with pytest.raises(ValueError, match="unknown task 'xyz'"):
        score_sets([hypothesis_set("xyz", rows)])
