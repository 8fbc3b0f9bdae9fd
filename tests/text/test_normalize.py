"""Text for targets and text for metrics."""

import pytest

from osum.text.normalize import clean, is_han, join_units, split_units


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("Hello,  THERE", "hello, there"),
        ("你 好 World ok", "你好world ok"),
        ("ＡＢＣ１２", "abc12"),
        ("it\u2019s", "it's"),
        ("hello < happy >", "hello< happy >"),
        ("", ""),
    ],
)
def test_clean(raw: str, wanted: str) -> None:
    assert clean(raw) == wanted


def test_clean_without_punctuation() -> None:
    assert clean("Well-known: 'it's' 100% 好。", strip_punctuation=True) == "well known it's 100好"


def test_clean_is_idempotent() -> None:
    for text in ("Hello,  THERE 你 好!", "《书》 a b", "\u200bx"):
        assert clean(clean(text)) == clean(text)


def test_units_are_han_characters_and_words() -> None:
    assert split_units("我爱 hip-hop, don't!<happy>") == ["我", "爱", "hip", "hop", "don't"]
    assert split_units("hello<0.5>there") == ["hello", "there"]
    assert split_units("。。。") == []


def test_join_inverts_split() -> None:
    assert join_units(["我", "爱", "hip", "hop", "你"]) == "我爱hip hop你"


def test_is_han() -> None:
    assert is_han("好")
    assert not is_han("a")
    assert not is_han("好好")
    assert not is_han("。")
