"""One row of a list as a recording and its supervision."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile
from lhotse import AudioSource, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from labelled.config import COLUMNS
from labelled.lists import BadRow
from osum.data.corpora.ages import age_class

_SLACK_S = 0.05


def fields_of(row: Mapping[str, Any], renamed: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row's values of our fields, and those of all other columns."""
    places = {name: (renamed[name],) if name in renamed else columns for name, columns in COLUMNS.items()}
    found = {name: next((c for c in columns if c in row), None) for name, columns in places.items()}
    taken = set(found.values())
    ours = {name: row[column] for name, column in found.items() if column is not None}
    return ours, {name: value for name, value in row.items() if name not in taken}


def to_recording(key: str, path: Path) -> Recording:
    """Describe an audio file from its header. BadRow if it is missing, unreadable or empty."""
    if not path.is_file():
        raise BadRow("audio is missing")
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        raise BadRow("audio is unreadable") from None
    if info.frames <= 0:
        raise BadRow("audio has zero length")
    source = AudioSource(type="file", channels=list(range(info.channels)), source=str(path))
    return Recording(key, [source], info.samplerate, info.frames, info.frames / info.samplerate)


def to_supervision(
    key: str, recording: Recording, ours: Mapping[str, Any], others: Mapping[str, Any], language: str
) -> SupervisionSegment:
    """Build the supervision with raw labels; `language` holds where the row names none. BadRow names what is wrong."""
    start_s = _number(ours, "start", 0.0)
    end_s = _number(ours, "end", recording.duration)
    if not 0 <= start_s < end_s <= recording.duration + _SLACK_S:
        raise BadRow("start and end do not lie inside the audio")
    labels = {name: _label(ours, name) for name in ("emotion", "style", "event", "answer", "split")}
    labels["age"] = _age(ours)
    words = _words(ours.get("words"))
    return SupervisionSegment(
        id=key,
        recording_id=key,
        start=start_s,
        duration=round(min(end_s, recording.duration) - start_s, 6),
        channel=0,
        text=_text(ours),
        language=_label(ours, "language") or language,
        speaker=_label(ours, "speaker"),
        gender=_label(ours, "gender"),
        custom={**others, **{name: label for name, label in labels.items() if label is not None}},
        alignment={"word": words} if words else None,
    )


def _text(ours: Mapping[str, Any]) -> str | None:
    text = ours.get("text")
    if text is not None and not isinstance(text, str):
        raise BadRow("text is not a string")
    return text


def _label(ours: Mapping[str, Any], name: str) -> str | None:
    """Return a label as a string, None if it is unknown."""
    value = ours.get(name)
    if isinstance(value, (dict, list)):
        raise BadRow(f"{name} is not a single value")
    return None if value is None or str(value).strip() == "" else str(value).strip()


def _number(ours: Mapping[str, Any], name: str, default: float) -> float:
    try:
        return float(ours.get(name, default))
    except (TypeError, ValueError):
        raise BadRow(f"{name} is not a number") from None


def _age(ours: Mapping[str, Any]) -> str | None:
    """Return the raw age label: that of `age_group`, or of `age` in words or in years (14 to 17 are no class)."""
    raw = _label(ours, "age_group") or _label(ours, "age")
    return raw and age_class(raw)


def _words(raw: Any) -> list[AlignmentItem]:
    """Return the alignment of [[word, start s, end s], ...], seconds from the start of the file."""
    try:
        items = json.loads(raw) if isinstance(raw, str) else raw or []
        words = [(str(word), float(start), float(end)) for word, start, end in items]
    except (TypeError, ValueError):
        raise BadRow("words are not a list of [word, start, end]") from None
    if not all(start <= end for _, start, end in words):  # so that a time that is not a number fails
        raise BadRow("a word ends before it starts")
    return [AlignmentItem(word, start, round(end - start, 6)) for word, start, end in words]
