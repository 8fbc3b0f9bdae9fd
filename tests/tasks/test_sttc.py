"""Chat."""

from collections.abc import Callable

import pytest

from osum import tasks
from osum.types import Utterance

STTC = tasks.get("sttc")


@pytest.mark.parametrize(
    ("output", "transcript", "answer"),
    [
        ("how are you<开始回答>Very well.", "how are you", "very well."),
        ("how are you", "how are you", None),
        ("<开始回答>", "", ""),
        ("a<开始回答>b<开始回答>c", "a", "b c"),
    ],
)
def test_parse(output: str, transcript: str, answer: str | None) -> None:
    assert STTC.parse(output) == {"transcript": transcript, "answer": answer}


def test_scores(utterance: Callable[..., Utterance]) -> None:
    outputs = ["how are you<开始回答>Very well.", "how are they<开始回答>well", "how are you"]
    scores = STTC.score([utterance()] * 3, outputs)
    assert scores["exact"] == 1 / 3
    assert scores["no_separator"] == 1
    assert scores["wer"] == 1 / 9


def test_kinds_of_questions_are_scored_apart(utterance: Callable[..., Utterance]) -> None:
    refs = [utterance(answer="very well", question=kind) for kind in ("slot", "closed", "slot")]
    outputs = ["x<开始回答>very well", "x<开始回答>very well", "x<开始回答>no"]
    assert STTC.score(refs, outputs)["by_question"] == {
        "closed": {"n": 1, "exact": 1.0},
        "slot": {"n": 2, "exact": 0.5},
    }
    assert STTC.score([utterance()], ["x"])["by_question"] == {}


def test_no_target_without_answer(utterance: Callable[..., Utterance]) -> None:
    assert STTC.target(utterance(gender="male")) is None
