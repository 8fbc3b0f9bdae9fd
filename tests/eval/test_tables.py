"""Tables show the figures of the scores, and a dash where there is none."""

from __future__ import annotations

from osum.eval import tables
from osum.eval.score import score_sets


def test_results(eight_tasks):
    table = tables.results(score_sets(eight_tasks)["test"])
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["asr"] == ("4", "WER, %", "25.0", "100.0", "–", "–", "25.0", "100.0")
    assert rows["ser"][:6] == ("4", "accuracy, %", "75.0", "50.0", "50.0", "50.0")
    assert rows["srwt"][1:3] == ("AAS, ms (coverage)", "0 (75.0 %)")
    assert rows["sttc"][1:3] == ("exact answers, %", "75.0")
    assert list(rows)[-1] == "sap+sgc"


def test_tables_by_topic(eight_tasks):
    scores = score_sets(eight_tasks)["test"]
    errors = tables.error_rates(scores)
    assert errors is not None
    assert errors.header == ("task", "all", "en", "zh")
    assert errors.rows[0] == ("asr", "25.0", "0.0 (n=2)", "50.0 (n=2)")
    times = tables.word_times(scores)
    assert times is not None
    assert times.rows == [("srwt", "4", "0.0", "0.0", "75.0", "100.0", "100.0", "100.0", "1")]
    labels = tables.labels(scores)
    assert labels is not None
    assert [row[0] for row in labels.rows] == ["ved", "ser", "ssr", "sgc", "sap", "sap+sgc: age", "sap+sgc: gender"]
    assert labels.rows[0][1] == "75.0"
    answers = tables.answers(scores)
    assert answers is not None
    assert answers.rows == [("sttc", "closed", "2", "100.0", "0.0"), ("sttc", "slot", "2", "50.0", "0.0")]


def test_word_times_are_shown_by_event(utterance, hypothesis_set):
    words = (("hello", 0.1, 0.5), ("there", 0.5, 0.9))
    laughing = utterance("b", words=words, labels={"event": "laugh"})
    hyps = hypothesis_set("srwt", [(utterance("a", words=words), "<0.1>hello<0.5>"), (laughing, "<0.3>hello<0.5>")])
    times = tables.word_times(score_sets([hyps])["test"])
    assert [row[:5] for row in times.rows] == [
        ("srwt", "2", "100.0", "50.0", "50.0"),
        ("srwt, with an event", "1", "200.0", "100.0", "50.0"),
        ("srwt, without an event", "1", "0.0", "0.0", "50.0"),
    ]


def test_absent_topics(utterance, hypothesis_set):
    scores = score_sets([hypothesis_set("only:sgc", [(utterance("a", None, labels={"gender": "male"}), "<male>")])])
    assert tables.error_rates(scores["test"]) is None
    assert tables.word_times(scores["test"]) is None
    assert tables.answers(scores["test"]) is None
    assert tables.results(scores["test"]).rows == [
        ("only:sgc", "1", "accuracy, %", "100.0", "–", "100.0", "100.0", "–", "–")
    ]


def test_bars_are_the_better_the_longer(eight_tasks):
    bars = {bar.name: bar for bar in tables.bars(score_sets(eight_tasks)["test"])}
    assert bars["ser: accuracy"].model == 0.75
    assert bars["srwt: units found"].model == 0.75
    assert bars["asr: 1 - WER"].swapped == 0.0


def test_as_text(utterance, hypothesis_set):
    scores = score_sets([hypothesis_set("asr", [(utterance("a"), "hello where")])])
    assert tables.as_text(tables.results(scores["test"])).splitlines() == [
        "task  n  metric  model  swapped audio  chance  majority  WER, %  swapped WER, %",
        "-" * 79,
        "asr   1  WER, %   50.0              –       –         –    50.0               –",
    ]
