"""Error rates."""

from osum.metrics.wer import Errors, count_errors, error_rate


def test_words_and_han_characters_are_counted_alike() -> None:
    assert count_errors("good day 你好", "good night 你好吗") == Errors(
        insertions=1, deletions=0, substitutions=1, num_ref_units=4
    )


def test_case_punctuation_and_tags_do_not_count() -> None:
    assert error_rate([("Hello, there!", "hello THERE<happy>")]) == 0.0


def test_rate_is_over_the_whole_set() -> None:
    assert error_rate([("a b c", "a b c"), ("d", "x y")]) == 2 / 4


def test_speech_found_where_there_is_none_counts() -> None:
    assert error_rate([("", "a"), ("b c", "b c")]) == 1 / 2
    assert error_rate([("", "a")]) is None
    assert error_rate([]) is None
