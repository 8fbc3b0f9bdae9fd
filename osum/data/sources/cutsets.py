"""Lhotse: CutSets as JSON lines, and Shar folders (`cuts.N.jsonl.gz` beside `recording.N.tar`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lhotse import MonoCut, Recording
from lhotse.serialization import deserialize_item

from osum.data.corpora.cuts import Unusable
from osum.data.sources import lists
from osum.data.sources.entries import Entry, Found, Lost, Part, Span
from osum.data.sources.fields import supervision
from osum.data.sources.groups import Group, groups
from osum.data.sources.wenet import file_span, is_time
from osum.data.store.clips import Clip
from osum.data.store.storage import Storage

AudioOf = Callable[[MonoCut], Span]
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError, RecursionError)
"""What Lhotse raises for an object that is not a cut."""


def shar_parts(folder: Path) -> Iterator[Part]:
    """Yield each shard of a Shar folder as a piece. ValueError if there is none."""
    found = sorted(folder.glob("cuts.*.jsonl*"))
    if not found:
        raise ValueError(f"{folder}: no cuts.*.jsonl.gz in it; the path of a shar source is the folder of its shards")
    for path in found:
        # One piece a shard, however many lines: its tar is walked through once.
        yield from lists.parts(path, lines_per_part=2**31)


def read_cuts(part: Part, storage: Storage, root: str | None) -> Iterator[Entry]:
    """Read cuts whose recordings are files."""

    def audio_of(cut: MonoCut) -> Span:
        return file_span(_source(cut), storage, root)

    yield from _entries(part, audio_of)


def read_shar(part: Part, storage: Storage, root: str | None) -> Iterator[Entry]:
    """Read a Shar shard. OSError or ValueError if its tar is missing."""
    tar = _recordings(part.path)
    left: dict[str, Group] = {}
    for found in groups(str(tar), storage):
        if isinstance(found, Lost):
            yield found
        elif left.setdefault(found.key, found) is not found:
            yield Lost(found.name, "a second recording of this id")

    def audio_of(cut: MonoCut) -> Span:
        found = left.pop(cut.id, None)
        if found is None:
            raise Unusable("no recording of this cut in the tar")
        if found.problem:
            raise Unusable(found.problem)
        return found.audio()

    yield from _entries(part, audio_of)
    for group in left.values():
        yield Lost(group.name, "a recording without cut")


def _recordings(cuts: Path) -> Path:
    """Return the tar with the recordings of a shard of cuts."""
    number = cuts.name.removeprefix("cuts.").partition(".jsonl")[0]
    tar = cuts.with_name(f"recording.{number}.tar")
    if not tar.is_file():
        raise ValueError(f"{tar}: not found; export Shar with recordings, or give the cuts as format lhotse")
    return tar


def _entries(part: Part, audio_of: AudioOf) -> Iterator[Entry]:
    for place, obj in lists.objects(part):
        try:
            cut = _cut(obj)
        except Unusable as unusable:
            yield Lost(place, str(unusable), unusable.defect)
            continue
        try:
            clip = Clip(float(cut.start), float(cut.duration), _channel(cut))
            yield Found(place, cut.id, audio_of(cut), _labels(cut), clip)
        except Unusable as unusable:
            yield Lost(f"{place}: {cut.id}", str(unusable), unusable.defect)
        except MALFORMED:  # Lhotse does not check what is in the fields of a cut
            yield Lost(f"{place}: {cut.id}", "not a Lhotse cut")


def _cut(obj: dict[str, Any] | None) -> MonoCut:
    """Return a cut of one recording with one supervision at most, with an id and legible times."""
    if obj is None:
        raise Unusable("not a JSON object in UTF-8")
    try:
        cut = deserialize_item(obj)
    except MALFORMED:
        raise Unusable("not a Lhotse cut") from None
    if not isinstance(cut, MonoCut):
        raise Unusable("not a MonoCut; mix and pad in training, or write shards of the cuts", defect=False)
    if not isinstance(cut.id, str) or not is_time(cut.start) or not is_time(cut.duration):
        raise Unusable("a cut without id or times")
    if len(cut.supervisions) > 1:
        raise Unusable("several supervisions; trim the cuts to them", defect=False)
    return cut


def _recording(cut: MonoCut) -> Recording:
    if not isinstance(cut.recording, Recording):
        raise Unusable("a cut without recording")
    if any(step.get("name") != "Resample" for step in map(_as_dict, cut.recording.transforms or ())):
        raise Unusable("a cut with transforms of its audio; write shards of such cuts", defect=False)
    return cut.recording


def _as_dict(transform: Any) -> dict[str, Any]:
    return transform if isinstance(transform, dict) else {"name": type(transform).__name__}


def _source(cut: MonoCut) -> str:
    sources = _recording(cut).sources
    if len(sources) != 1 or sources[0].type not in ("file", "url") or not isinstance(sources[0].source, str):
        raise Unusable("its recording is not one file")
    return sources[0].source


def _channel(cut: MonoCut) -> int:
    """Return the place of the cut's channel among those of the file."""
    channels = list(_recording(cut).sources[0].channels) if _recording(cut).sources else []
    if cut.channel not in channels:
        raise Unusable("its recording does not have the channel of the cut")
    return channels.index(cut.channel)


def _labels(cut: MonoCut) -> Any:
    """Return the labels of the cut's supervision, times counted from the start of the cut."""
    if not cut.supervisions:
        return supervision(cut.id, None, {})
    found = cut.supervisions[0]
    fields = {**(found.custom or {}), "gender": found.gender, "language": found.language, "speaker": found.speaker}
    words = [(str(w.symbol), float(w.start), float(w.end)) for w in (found.alignment or {}).get("word", ())]
    if found.text is not None and not isinstance(found.text, str):
        raise Unusable("text is not text")
    return supervision(cut.id, found.text, fields, words)
