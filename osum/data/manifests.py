"""Reading stage 0's Lhotse manifests, line by line, so that one bad line is one counted defect."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import Recording, SupervisionSegment

RECORDINGS = "recordings.jsonl.gz"
SUPERVISIONS = "supervisions.jsonl.gz"


@dataclass(frozen=True)
class Entry:
    """One supervision with its recording, or the reason why there is none."""

    id: str
    """The supervision's id; file name and line where that is not legible."""
    supervision: SupervisionSegment | None = None
    recording: Recording | None = None
    defect: str | None = None


def find_corpora(manifests_dir: Path) -> list[str]:
    """Return the names of the folders that hold manifests. ValueError if there are none."""
    found = sorted(path.parent.name for path in Path(manifests_dir).glob(f"*/{SUPERVISIONS}"))
    if not found:
        raise ValueError(f"{manifests_dir}: no <corpus>/{SUPERVISIONS} in it; run the prepare stage first")
    return found


def read_corpus(folder: Path) -> Iterator[Entry]:
    """Yield an entry per line of the supervisions of a corpus, in the order of the file.

    FileNotFoundError if a manifest is missing.
    """
    recordings: dict[str, Recording | str] = {}
    for place, obj in _lines(folder / RECORDINGS):
        recording = _parse(Recording, obj)
        if isinstance(recording, str):
            recordings[_id(obj) or place] = f"{recording} ({place})"
        else:
            recordings[recording.id] = "duplicate recording" if recording.id in recordings else recording
    for place, obj in _lines(folder / SUPERVISIONS):
        supervision = _parse(SupervisionSegment, obj)
        if isinstance(supervision, str):
            yield Entry(_id(obj) or place, defect=f"{supervision} ({place})")
            continue
        recording = recordings.get(supervision.recording_id, "no recording")
        if isinstance(recording, str):
            yield Entry(supervision.id, defect=recording)
        else:
            yield Entry(supervision.id, supervision, recording)


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (`file:line`, JSON value), the value None where the line is not JSON."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; run the prepare stage for this corpus again")
    with gzip.open(path, "rt", encoding="utf-8") as f:
        for number, line in enumerate(f, start=1):
            try:
                yield f"{path}:{number}", json.loads(line)
            except json.JSONDecodeError:
                yield f"{path}:{number}", None


def _parse(kind: type[Recording] | type[SupervisionSegment], obj: Any) -> Any:
    """Return a Lhotse object, or a sentence that says what is wrong."""
    if not isinstance(obj, dict):
        return "not a JSON object"
    try:
        return kind.from_dict(obj)
    except (TypeError, KeyError, ValueError, AttributeError) as err:
        return f"malformed {kind.__name__.lower()}: {err}"


def _id(obj: Any) -> str | None:
    return str(obj["id"]) if isinstance(obj, dict) and "id" in obj else None
