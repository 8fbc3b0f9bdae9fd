import itertools
import re

import numpy as np
import pytest
from mini import texts
from mini.prosody import STYLES

GRAMMAR = texts.load_grammar()


def rng(seed=0):
    return np.random.default_rng(seed)


def all_texts(language):
    of_language = GRAMMAR[language]
    templates = [t for register in of_language["registers"].values() for t in register]
    questions = of_language["closed_questions"] + of_language["slot_questions"]
    values = [v for slot in of_language["slots"].values() for v in slot]
    return [*templates, *itertools.chain(*questions), *values]


@pytest.mark.parametrize(("language", "legal"), [("en", r"[a-z' ,]*"), ("zh", r"[\u4e00-\u9fff,]*")])
def test_texts_are_lower_case_words_or_han_characters(language, legal):
    for text in all_texts(language):
        assert re.fullmatch(legal, re.sub(r"\{\w+\}", "", text)), text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_style_has_a_register_and_20_closed_questions(language):
    assert set(GRAMMAR[language]["registers"]) == {"plain", *STYLES}
    questions = [question for question, _ in GRAMMAR[language]["closed_questions"]]
    assert len(questions) == len(set(questions)) == 20


def test_vocabulary_is_small():
    words = {w for t in all_texts("en") for w in re.findall(r"[a-z']+", re.sub(r"\{\w+\}", "", t))}
    characters = {c for t in all_texts("zh") for c in re.findall(r"[\u4e00-\u9fff]", t)}
    assert len(words) <= 150
    assert len(characters) <= 150


def test_transcript_leaves_out_pauses():
    assert texts.transcript("oh moon, my heart", "en") == "oh moon my heart"
    assert texts.transcript("啊,月亮,你", "zh") == "啊月亮你"


def test_unit_spans_point_into_the_spoken_text():
    assert texts.unit_spans("oh, my", "en") == [(0, 2), (4, 6)]
    assert texts.unit_spans("啊,你", "zh") == [(0, 1), (2, 3)]


def test_repeated_slots_get_different_values():
    for seed in range(30):
        spoken = texts.draw_sentence(GRAMMAR, "en", "新闻科普", rng(seed)).spoken
        skies = re.findall(r"sun|moon|earth", spoken)
        assert len(set(skies)) == len(skies)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_held_out_combinations_never_occur_in_train(language):
    train = {texts.draw_question(GRAMMAR, language, "slot", rng(s), unseen=False).spoken for s in range(300)}
    test = {texts.draw_question(GRAMMAR, language, "slot", rng(s), unseen=True).spoken for s in range(300)}
    assert len(test) == {"en": 21, "zh": 18}[language]
    assert len(train) > 2 * len(test)
    assert not train & test
    assert {w for t in test for w in texts.unit_spans(t, language)}  # every question has units


def test_every_held_out_value_is_heard_in_train():
    slots = GRAMMAR["en"]["slots"]
    for template, _ in GRAMMAR["en"]["slot_questions"]:
        names = re.findall(r"\{(\w+)\}", template)
        kept = [c for c in itertools.product(*(slots[n] for n in names)) if not texts.held_out(template, c, slots)]
        for i, name in enumerate(names):
            assert {c[i] for c in kept} == set(slots[name])


def test_slot_answer_repeats_the_values():
    question = texts.draw_question(GRAMMAR, "en", "slot", rng(1), unseen=True)
    assert question.question == "slot"
    assert " ".join(question.answer.split()[-2:]) in question.spoken
