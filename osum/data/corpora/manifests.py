"""Reading stage 0's Lhotse manifests, line by line, so that one bad line is one counted defect."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def find_corpora(manifests_dir: Path, wanted: Sequence[str] | None = None) -> list[Path]:
    """Return the folders that hold manifests: all, or those of the wanted corpora. ValueError if one is missing."""
    # What a killed prepare stage has left has a name that starts with a dot.
    found = sorted(path.parent for path in manifests_dir.glob(f"[!.]*/{SUPERVISIONS}"))
    if not found:
        raise ValueError(f"{manifests_dir}: no <corpus>/{SUPERVISIONS} in it; run the prepare stage first")
    if wanted is None:
        return found
    by_name = {folder.name: folder for folder in found}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise ValueError(f"{manifests_dir}: no corpus {missing[0]!r} in it, only {', '.join(by_name)}; correct corpora")
    return [by_name[name] for name in wanted]


def read_corpus(folder: Path) -> Iterator[Entry]:
    """Yield an entry per line of the supervisions of a corpus, in the order of the file.

    FileNotFoundError or ValueError if a manifest is missing or damaged.
    """
    from lhotse import Recording, SupervisionSegment  # on use: finding the corpora needs none of it

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
    try:
        with gzip.open(path, "rb") as f:
            for number, line in enumerate(f, start=1):
                yield f"{path}:{number}", _json(line)
    except (gzip.BadGzipFile, EOFError, zlib.error) as err:
        raise ValueError(f"{path}: damaged ({err}); run the prepare stage for this corpus again") from err


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


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
