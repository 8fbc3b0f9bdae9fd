"""Raw labels of foreign sources as a Lhotse supervision, the form in which the annotate stage knows labels too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from osum.data.corpora.ages import age_class
from osum.data.corpora.cuts import Unusable

if TYPE_CHECKING:
    from lhotse import SupervisionSegment

LABELS = ("emotion", "style", "event", "age", "answer")
NAMES = ("language", "lang", "speaker", "gender", *LABELS)
"""Fields that say something of an utterance besides its text."""
UNKNOWN = frozenset({"", "none", "null", "nan"})
"""What sources write where they know nothing, in lower case."""
LANGUAGES = {"cn": "zh", "chinese": "zh", "mandarin": "zh", "english": "en"}
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


def supervision(
    key: str, text: str | None, fields: Mapping[str, Any], words: Sequence[tuple[str, float, float]] = ()
) -> SupervisionSegment:
    """Build a supervision from 0 s on; its end is not known yet. Unusable names a field that is not text.

    `fields`: NAMES, others are ignored. `words`: (unit, start in s, end in s).
    """
    from lhotse import SupervisionSegment  # on use: reading the options needs none of it
    from lhotse.supervision import AlignmentItem

    items = [AlignmentItem(word, start, round(end - start, 4)) for word, start, end in words]
    return SupervisionSegment(
        id=key,
        recording_id=key,
        start=0.0,
        duration=0.0,
        text=text,
        language=language(value(fields, "language") or value(fields, "lang")),
        speaker=value(fields, "speaker"),
        gender=value(fields, "gender"),
        custom={name: value(fields, name) for name in LABELS} | {"age": _age(fields)},
        alignment={"word": items} if items else None,
    )


def value(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a field without the brackets of a tag, None where it is unknown. Unusable if it is a list or the like."""
    found = fields.get(name)
    if isinstance(found, (dict, list, bool)):
        raise Unusable(f"{name} is not text")
    text = "" if found is None else str(found).strip().removeprefix("<").removesuffix(">").strip()
    return None if text.lower() in UNKNOWN else text


def _age(fields: Mapping[str, Any]) -> str | None:
    """Return the age in words, also where it is given in years."""
    raw = value(fields, "age")
    return None if raw is None else age_class(raw)


def language(name: str | None) -> str | None:
    """Return the ISO 639 code of a language, None where it is unknown. Unusable if it is neither code nor a name."""
    if name is None:
        return None
    code = LANGUAGES.get(name.lower(), name.lower())
    if not _LANGUAGE.fullmatch(code):
        raise Unusable("language is no ISO 639 code")
    return code
