"""Text as the model writes it, and text as the metrics compare it."""

from __future__ import annotations

import re
import unicodedata

NORMALISER = "NFKC, lower case, tags and punctuation removed, Han by character, other scripts by word"
"""What `split_units` does, in words: printed beside every error rate."""

HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Han characters as the inside of a regular-expression class."""

TAG = re.compile(r"<[^<>]*>")
"""One tag, such as `<happy>`, `<0.4>` or `<开始回答>`."""

_UNIT = re.compile(rf"[{HAN}]|[^\s{HAN}]+")
_SPACE_AT_HAN_OR_TAG = re.compile(rf"(?<=[{HAN}>])\s+|\s+(?=[{HAN}<])")
_OUTER_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")


def clean(text: str, strip_punctuation: bool = False) -> str:
    """Return a transcript as training targets hold it.

    NFKC, lower case, single spaces, none around Han characters and tags. Punctuation stays unless asked.
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    if strip_punctuation:
        text = _without_punctuation(text)
    return _SPACE_AT_HAN_OR_TAG.sub("", " ".join(text.split()))


def split_units(text: str) -> list[str]:
    """Return the units that error rates count: Han characters and words, without tags and punctuation."""
    return _UNIT.findall(clean(TAG.sub(" ", text), strip_punctuation=True))


def join_units(units: list[str]) -> str:
    """Return units as text: spaces between words, none at Han characters."""
    return _SPACE_AT_HAN_OR_TAG.sub("", " ".join(units))


def is_han(unit: str) -> bool:
    """Tell whether a unit is one Han character."""
    return re.fullmatch(f"[{HAN}]", unit) is not None


def _without_punctuation(text: str) -> str:
    """Replace punctuation, symbols and control characters by spaces; apostrophes inside words stay."""
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] not in "PSC" else " " for c in text)
    return _OUTER_APOSTROPHE.sub(" ", kept)
