"""WeNet's two formats: `raw` lists (a JSON object a line) and `shard` lists (a tar a line)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from osum.data.corpora.cuts import Unusable
from osum.data.sources import lists, original
from osum.data.sources.entries import Entry, Found, Lost, Part, Span
from osum.data.sources.fields import supervision
from osum.data.sources.groups import usable_groups
from osum.data.store.clips import WHOLE, Clip
from osum.data.store.storage import Storage


def read_shard(part: Part, storage: Storage, root: str | None) -> Iterator[Entry]:
    """Read a tar of `KEY.txt` and `KEY.wav`. ValueError if it is missing or no tar."""
    for group in usable_groups(lists.tar_path(part, storage, root), storage):
        if isinstance(group, Lost):
            yield group
            continue
        try:
            yield Found(group.tar, group.key, group.audio(), supervision(group.key, group.text(storage) or None, {}))
        except Unusable as unusable:
            yield Lost(group.name, str(unusable), unusable.defect)


def read_raw(part: Part, storage: Storage, root: str | None) -> Iterator[Entry]:
    """Read lines `{"key": ..., "wav": path, "txt": ...}`; `start` and `end` (seconds), and labels, where given."""
    for place, obj in lists.objects(part):
        try:
            yield _raw(place, obj, storage, root)
        except Unusable as unusable:
            key = obj.get("key") if obj else None
            yield Lost(f"{place}: {key}" if isinstance(key, str) else place, str(unusable), unusable.defect)


def _raw(place: str, obj: Mapping[str, Any] | None, storage: Storage, root: str | None) -> Found:
    if obj is None:
        raise Unusable("not a JSON object in UTF-8")
    for name in ("key", "wav", "txt"):
        if not isinstance(obj.get(name), str):
            raise Unusable(f"no text {name!r}")
    if isinstance(obj.get("task"), str):  # the original OSUM's lists
        about = original.supervision_of(obj["key"], obj["txt"], obj)
    else:
        about = supervision(obj["key"], obj["txt"].strip() or None, obj)
    return Found(place, obj["key"], file_span(obj["wav"], storage, root), about, _clip(obj))


def file_span(path: str, storage: Storage, root: str | None) -> Span:
    """Return a whole audio file. Unusable if it can't be opened."""
    try:
        path = lists.resolve(path, root)
        return Span(path, 0, storage.size(path))
    except (OSError, ValueError) as err:
        raise Unusable(f"audio file can't be opened ({type(err).__name__})") from err


def _clip(obj: Mapping[str, Any]) -> Clip:
    if "start" not in obj and "end" not in obj:
        return WHOLE
    start_s, end_s = obj.get("start"), obj.get("end")
    if not is_time(start_s) or not is_time(end_s) or start_s >= end_s:
        raise Unusable("start and end are not times in order")
    return Clip(float(start_s), float(end_s) - float(start_s))


def is_time(value: Any) -> bool:
    """Tell whether a JSON value is a time: a number of seconds, not negative."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9 and isfinite(value)
