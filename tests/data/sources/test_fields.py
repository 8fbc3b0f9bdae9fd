import pytest

from osum.data.corpora.cuts import Unusable
from osum.data.sources.fields import language, supervision, value


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("happy", "happy"), ("<HAPPY>", "HAPPY"), (" x ", "x"), (7, "7"), (None, None), ("", None), ("none", None),
     ("<NONE>", None), ("null", None)],
)  # fmt: skip
def test_a_field_loses_its_brackets_and_unknown_is_none(raw, expected):
    assert value({"a": raw}, "a") == expected


@pytest.mark.parametrize("raw", [["f"], {"a": 1}, True])
def test_a_field_that_is_no_text_is_refused(raw):
    with pytest.raises(Unusable, match="gender is not text"):
        supervision("k", "hi", {"gender": raw})


@pytest.mark.parametrize(
    ("name", "code"), [("<CN>", "zh"), ("EN", "en"), ("Chinese", "zh"), ("zh-hans", "zh-hans"), (None, None)]
)
def test_languages_are_codes(name, code):
    assert language(value({"lang": name}, "lang")) == code


def test_a_supervision_holds_what_is_known():
    made = supervision("k", "hi", {"lang": "CN", "age": 70, "speaker": 5, "emotion": "<SAD>"}, [("hi", 0.1, 0.5)])
    assert (made.id, made.text, made.language, made.speaker, made.gender) == ("k", "hi", "zh", "5", None)
    assert made.custom == {"emotion": "SAD", "style": None, "event": None, "age": "old", "answer": None}
    (word,) = made.alignment["word"]
    assert (word.symbol, word.start, word.end) == ("hi", 0.1, 0.5)
