"""Utterances to make targets of."""

from collections.abc import Callable

import pytest

from osum.types import Utterance

LABELS = {
    "gender": "female",
    "age": "old",
    "emotion": "happy",
    "style": "日常口语",
    "event": "throat clearing",
    "answer": "very well",
}


def make_utterance(text: str | None = "how are you", **labels: str) -> Utterance:
    """An utterance of a second with all labels, or those given."""
    words = (("how", 0.12, 0.3), ("are", 0.3, 0.48), ("you", 0.48, 0.95)) if text == "how are you" else ()
    return Utterance("u", "toy", "en", text, 16000, words=words, labels=labels or LABELS)


@pytest.fixture
def utterance() -> Callable[..., Utterance]:
    """The maker of utterances."""
    return make_utterance
