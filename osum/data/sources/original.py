"""The original OSUM's `shard_full_data`: WeNet's tars with a member per field, and the damage that its writer did.

The writer counted the bytes of fields in characters, so a field that is not ASCII is cut short: it is unknown here, and
noted. It also left out the tar's end blocks, which nothing here needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from osum import tasks
from osum.data.corpora.cuts import Unusable
from osum.data.sources import lists
from osum.data.sources.entries import Entry, Found, Lost, Part
from osum.data.sources.fields import NAMES, supervision, value
from osum.data.sources.groups import Group, usable_groups
from osum.data.store.storage import Storage
from osum.tasks.original import task_name
from osum.tasks.tag_task import TagTask
from osum.text import tags
from osum.text.normalize import split_units

if TYPE_CHECKING:
    from lhotse import SupervisionSegment

FIELDS = ("task", "lang", "speaker", "emotion", "gender")
"""Members whose size the writer counted in characters."""
NO_TEXT = ("<none>", "none_in_extract_")
"""What its data construction wrote for a transcript that was not found, in lower case."""


def read(part: Part, storage: Storage, root: str | None) -> Iterator[Entry]:
    """Read a tar of `KEY.txt .wav .task .lang .speaker .emotion .gender .duration .extra`.

    ValueError if it is missing or no tar.
    """
    for group in usable_groups(lists.tar_path(part, storage, root), storage, end_mark=False):
        if isinstance(group, Lost):
            yield group
            continue
        try:
            fields, notes = _fields(group, storage)
            about = supervision_of(group.key, group.text(storage), fields)
            yield Found(group.tar, group.key, group.audio(), about, notes=notes)
        except Unusable as unusable:
            yield Lost(group.name, str(unusable), unusable.defect)


def supervision_of(key: str, text: str, fields: Mapping[str, Any]) -> SupervisionSegment:
    """Take the target of a task apart into transcript, labels, word times and answer.

    Unusable if we have no such task, or the target is not one of it.
    """
    if any(mark in text.lower() for mark in NO_TEXT):
        raise Unusable("its text is a mark for a missing text", defect=False)
    name = _task(fields)
    extra = fields.get("extra")
    given = {k: fields[k] for k in NAMES if value(fields, k)}
    known = {**(extra if isinstance(extra, dict) else {}), **given}
    if name == "asr":
        return supervision(key, text.strip() or None, known)
    parsed = tasks.get(name).parse(text)
    if name == "srwt":
        if not parsed["well_formed"]:
            raise Unusable("text is not made of timed units")
        return supervision(key, parsed["transcript"], known, parsed["words"])
    if name == "sttc":
        if not parsed["answer"]:
            raise Unusable("text has no answer")
        return supervision(key, parsed["transcript"], {**known, "answer": parsed["answer"]})
    return _tagged(key, tasks.get(name), text, known)


def _tagged(key: str, task: TagTask, text: str, known: Mapping[str, Any]) -> SupervisionSegment:
    transcript, labels = tags.parse(text)
    if len(labels) != len(task.fields):
        raise Unusable("text does not have one tag for each part of its task")
    named = {field.name: label for field, label in zip(task.fields, labels, strict=True)}
    if not task.transcript and split_units(transcript):
        raise Unusable("text holds more than the tags of its task")
    # With the transcript asked for, none in the target says that there is no speech.
    return supervision(key, transcript if task.transcript else None, {**known, **named})


def _task(fields: Mapping[str, Any]) -> str:
    tag = fields.get("task")
    if tag is None:
        raise Unusable("no task")
    try:
        return task_name(str(tag))
    except ValueError:
        raise Unusable(f"task {tag} is none of ours", defect=False) from None


def _fields(group: Group, storage: Storage) -> tuple[dict[str, Any], tuple[str, ...]]:
    fields: dict[str, Any] = {}
    notes = []
    for name in FIELDS:
        content = group.bytes_of(name, storage)
        if content is None:
            continue
        if content.isascii():
            fields[name] = content.decode().strip()
        else:
            notes.append(f"field {name} cut short by the original's writer, taken as unknown")
    extra = group.bytes_of("extra", storage)
    if extra is not None:
        fields["extra"] = lists.json_object(extra)
        if fields["extra"] is None:
            notes.append("field extra is not a JSON object, taken as unknown")
    return fields, tuple(notes)
