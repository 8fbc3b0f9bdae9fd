"""What is said: sentences and questions drawn from the small grammar in grammar.yaml."""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

GRAMMAR = Path(__file__).with_name("grammar.yaml")
"""The sentences; the corpus is made anew when they change."""
HELD_OUT_SHARE = 0.25
"""Share of the combinations of every slot question that only dev and test may use."""

_SLOT = re.compile(r"\{(\w+)\}")
_UNIT = {"en": re.compile(r"[a-z']+"), "zh": re.compile(r"[\u4e00-\u9fff]")}


@dataclass(frozen=True)
class Sentence:
    """One thing to say; `spoken` may hold commas for pauses, the transcript holds none."""

    spoken: str
    language: str
    style: str | None = None
    answer: str | None = None
    question: str | None = None
    """`closed` or `slot` for a question with an answer."""


def load_grammar() -> dict[str, Any]:
    """Read grammar.yaml: per language slots, registers, closed_questions and slot_questions."""
    return yaml.safe_load(GRAMMAR.read_text(encoding="utf-8"))


def unit_spans(spoken: str, language: str) -> list[tuple[int, int]]:
    """Return [(start, end)] of the characters of every English word or Han character."""
    return [m.span() for m in _UNIT[language].finditer(spoken)]


def transcript(spoken: str, language: str) -> str:
    """Return the transcript: words joined by blanks, Han characters by nothing, no punctuation."""
    return (" " if language == "en" else "").join(spoken[a:b] for a, b in unit_spans(spoken, language))


def held_out(template: str, values: tuple[str, ...], slots: dict[str, list[str]]) -> bool:
    """Say whether a combination of slot values is kept for dev and test; every single value stays in train too.

    With two slots a question, a model learns the dozen combinations of train by heart and hears no other; with three
    each pair of values occurs there.
    """
    names = _SLOT.findall(template)
    ranks = [slots[name].index(value) for name, value in zip(names, values, strict=True)]
    return sum(ranks) % round(1 / HELD_OUT_SHARE) == 0


def _fill(template: str, slots: dict[str, list[str]], rng: np.random.Generator) -> str:
    """Fill the slots; a slot that occurs several times gets different values."""
    names = sorted(set(_SLOT.findall(template)))
    left = {name: [str(value) for value in rng.permutation(slots[name])] for name in names}
    return _SLOT.sub(lambda m: left[m.group(1)].pop(), template)


def draw_sentence(grammar: dict[str, Any], language: str, register: str, rng: np.random.Generator) -> Sentence:
    """Draw a sentence of a register: `plain` or one of the eight style names."""
    of_language = grammar[language]
    template = str(rng.choice(of_language["registers"][register]))
    return Sentence(_fill(template, of_language["slots"], rng), language, None if register == "plain" else register)


def draw_question(
    grammar: dict[str, Any], language: str, kind: str, rng: np.random.Generator, unseen: bool
) -> Sentence:
    """Draw a question and its answer.

    `kind` is `closed` (the same in every split) or `slot`, where `unseen` chooses between the combinations kept for dev
    and test and those of train.
    """
    of_language = grammar[language]
    if kind == "closed":
        pairs = of_language["closed_questions"]
        question, answer = pairs[int(rng.integers(len(pairs)))]
        return Sentence(question, language, answer=answer, question=kind)
    templates = of_language["slot_questions"]
    question, answer = templates[int(rng.integers(len(templates)))]
    slots = of_language["slots"]
    names = _SLOT.findall(question)
    combinations = [c for c in product(*(slots[n] for n in names)) if held_out(question, c, slots) == unseen]
    values = dict(zip(names, combinations[int(rng.integers(len(combinations)))], strict=True))
    return Sentence(question.format(**values), language, answer=answer.format(**values), question=kind)
