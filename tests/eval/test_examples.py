"""Examples in the report: a fair sample, the worst first, differences marked."""

from __future__ import annotations

from osum.eval.examples import marked, sample, sample_table, timelines, worst_table


def test_sample_takes_languages_in_turn(utterance, hypothesis_set):
    rows = [(utterance(f"en{i}"), "") for i in range(6)] + [(utterance(f"zh{i}", "你", "zh"), "") for i in range(2)]
    hyps = hypothesis_set("asr", rows).hypotheses
    assert [h.key for h in sample(hyps, 5)] == ["en0", "zh0", "en1", "zh1", "en2"]
    assert [h.key for h in sample(hyps[:6], 3)] == ["en0", "en2", "en4"]
    assert sample(hyps, 0) == []
    assert len(sample(hyps, 99)) == 8


def test_sample_table_shows_the_target(utterance, hypothesis_set):
    table = sample_table(hypothesis_set("sgc", [(utterance("a", labels={"gender": "male"}), "hallo<female>")]), 5)
    assert table.rows == [("a", "do sgc", "hello there<male>", "hallo<female>")]


def test_worst_come_first_and_right_ones_are_left_out(utterance, hypothesis_set):
    rows = [
        (utterance("right"), "hello there"),
        (utterance("half"), "hello where"),
        (utterance("none"), ""),
        (utterance("unknown", None), "anything"),
        (utterance("silence", ""), "a b c"),
    ]
    table = worst_table(hypothesis_set("asr", rows), 3)
    assert table is not None
    assert table.rows == [
        ("silence", "3 / 0", "", "[a] [b] [c]"),
        ("none", "2 / 2", "[hello] [there]", ""),
        ("half", "1 / 2", "hello [there]", "hello [where]"),
    ]
    assert worst_table(hypothesis_set("asr", rows[:1]), 3) is None


def test_marked():
    assert marked("你好世界", "你是世界 ok") == ("你[好]世界", "你[是]世界[ok]")
    assert marked("", "") == ("", "")


def test_timelines(utterance, hypothesis_set):
    words = (("hello", 0.1, 0.5),)
    rows = [
        (utterance("a", "hello", words=words), "<0.2>hello<0.4>"),
        (utterance("b", "hello", words=words), "no times"),
    ]
    a, b = timelines(hypothesis_set("srwt", rows), 4)
    assert (a.title, a.duration_s, a.reference, a.hypothesis) == ("a", 2.0, words, (("hello", 0.2, 0.4),))
    assert b.hypothesis == ()
    assert timelines(hypothesis_set("srwt", rows), 4, max_duration_s=1.0) == []
    assert timelines(hypothesis_set("asr", rows), 4) == []
