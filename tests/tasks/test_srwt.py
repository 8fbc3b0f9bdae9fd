"""Timed transcripts."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum import tasks
from osum.tasks.srwt import render
from osum.types import Utterance

SRWT = tasks.get("srwt")
UNITS = st.sampled_from(["你", "好", "hello", "don't", "7"])
TENTHS = st.integers(0, 299)


@given(st.lists(st.tuples(UNITS, TENTHS, TENTHS), min_size=1))
def test_parse_inverts_render(drawn: list[tuple[str, int, int]]) -> None:
    words = tuple((unit, min(a, b) / 10, max(a, b) / 10) for unit, a, b in drawn)
    parsed = SRWT.parse(render(words))
    assert parsed["words"] == words
    assert parsed["well_formed"]


def test_no_target_without_word_times(utterance: Callable[..., Utterance]) -> None:
    assert SRWT.target(utterance("good day")) is None
    assert SRWT.target(utterance(None)) is None
    assert SRWT.target(utterance("")) is None


@pytest.mark.parametrize(
    ("text", "transcript", "words"),
    [
        ("<0.1>a<0.2><0.2>b", "a b", (("a", 0.1, 0.2),)),
        ("<0.1>a<0.2> b <0.3>c<0.4>", "a b c", (("a", 0.1, 0.2), ("c", 0.3, 0.4))),
        ("<0.5>a<0.2>", "a", None),
        ("a b", "a b", None),
        ("<happy>", "", None),
    ],
)
def test_legible_parts_of_broken_output_are_kept(
    text: str, transcript: str, words: tuple[tuple[str, float, float], ...] | None
) -> None:
    assert SRWT.parse(text) == {"transcript": transcript, "words": words, "well_formed": False}


def test_scores(utterance: Callable[..., Utterance]) -> None:
    hyps = ["<0.1>how<0.3><0.3>are<0.5><0.5>you<0.9>", "how are you"]
    scores = SRWT.score([utterance(), utterance()], hyps)
    assert scores["wer"] == 0.0
    assert scores["parse_failures"] == 1
    assert scores["coverage"] == 0.5
    # True times are 0.12-0.3, 0.3-0.48 and 0.48-0.95: what rounding to tenths costs is in the score.
    assert scores["aas_ms"] == pytest.approx((20 + 20 + 20 + 50) / 3)
