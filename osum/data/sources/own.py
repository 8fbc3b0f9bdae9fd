"""Our own shards, read again where their index is lost or where they are mixed with foreign ones."""

from __future__ import annotations

from collections.abc import Iterator

from osum.data.corpora.cuts import Unusable
from osum.data.sources import lists
from osum.data.sources.entries import Entry, Found, Lost, Part
from osum.data.sources.groups import Group, usable_groups
from osum.data.store.storage import Storage
from osum.types import Utterance


def read(part: Part, storage: Storage, root: str | None) -> Iterator[Entry]:
    """Read a tar of `KEY.flac`, `KEY.txt` and `KEY.json`. ValueError if it is missing or no tar."""
    for group in usable_groups(lists.tar_path(part, storage, root), storage):
        if isinstance(group, Lost):
            yield group
            continue
        try:
            yield Found(group.tar, group.key, group.audio(), _utterance(group, storage))
        except Unusable as unusable:
            yield Lost(group.name, str(unusable), unusable.defect)


def _utterance(group: Group, storage: Storage) -> Utterance:
    content = group.bytes_of("json", storage)
    if content is None:
        raise Unusable("no member .json; is the format of this source wenet_shard?")
    try:
        utterance = Utterance.from_json(lists.json_object(content) or {})
    except (ValueError, TypeError, AttributeError):
        raise Unusable("member .json is not one of ours") from None
    if utterance.key != group.key:
        raise Unusable("member .json is that of another utterance")
    return utterance
