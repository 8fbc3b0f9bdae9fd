"""Which utterances a split holds: each one is drawn from a generator of its own, so no process count changes it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mini.events import EVENTS
from mini.prosody import EMOTIONS, STYLES
from mini.texts import Sentence, draw_question, draw_sentence
from mini.voices import Voice
from osum.rng import rng_for

MANDARIN_SHARE = 0.4
EVENT_ONLY_SHARE = 0.025
QUESTION_SHARE = 0.2
STYLE_SHARE = 0.5
"""The rest, 0.275, are plain sentences, all with an emotion."""
STYLE_WITH_EMOTION_SHARE = 0.4
EVENT_SHARE = 0.28
"""Of the utterances without an emotion: with both, a small model names the event where the emotion is asked for."""
CLOSED_SHARE = 0.6
"""Of the questions."""
EVENT_PLACES = ("after", "after", "after", "after", "inside")


@dataclass(frozen=True)
class Spec:
    """Everything that is decided about an utterance before a sound is made; None is unlabelled (and plain)."""

    key: str
    split: str
    voice: Voice
    language: str
    sentence: Sentence | None
    """None for a clip that holds nothing but an event."""
    emotion: str | None
    event: str | None
    event_place: str


def plan_utterance(grammar: dict[str, Any], voices: list[Voice], split: str, index: int, seed: int) -> Spec:
    """Return utterance `index` of a split; the voices take turns."""
    key = f"mini-{split}-{index:06d}"
    rng = rng_for(seed, "plan", key)
    voice = voices[index % len(voices)]
    language = "zh" if rng.random() < MANDARIN_SHARE else "en"
    sentence = _draw_content(grammar, language, split, rng)
    plain = sentence is not None and sentence.answer is None and sentence.style is None
    styled = sentence is not None and sentence.style is not None
    with_emotion = plain or (styled and rng.random() < STYLE_WITH_EMOTION_SHARE)
    emotion = str(rng.choice(list(EMOTIONS))) if with_emotion else None
    with_event = sentence is None or (not with_emotion and rng.random() < EVENT_SHARE)
    event = str(rng.choice(list(EVENTS))) if with_event else None
    return Spec(key, split, voice, language, sentence, emotion, event, str(rng.choice(EVENT_PLACES)))


def _draw_content(grammar: dict[str, Any], language: str, split: str, rng: np.random.Generator) -> Sentence | None:
    draw = rng.random()
    if draw < EVENT_ONLY_SHARE:
        return None
    if draw < EVENT_ONLY_SHARE + QUESTION_SHARE:
        kind = "closed" if rng.random() < CLOSED_SHARE else "slot"
        return draw_question(grammar, language, kind, rng, unseen=split != "train")
    styled = draw < EVENT_ONLY_SHARE + QUESTION_SHARE + STYLE_SHARE
    return draw_sentence(grammar, language, str(rng.choice(list(STYLES))) if styled else "plain", rng)
