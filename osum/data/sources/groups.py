"""Tars in WeNet's layout: consecutive members that share everything up to the last dot are one utterance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from osum.data.corpora.cuts import Unusable
from osum.data.sources.entries import Lost, Span
from osum.data.store.shards import check_key
from osum.data.store.storage import Storage
from osum.data.store.tar import Damage, Member, members

AUDIO_SUFFIXES = ("wav", "flac", "mp3", "m4a", "ogg", "opus", "wma")
BESIDE_DAMAGE = "beside a damaged part of the tar"
END_MARK_BYTES = 1024
MAX_FIELD_BYTES = 2**20
"""Longest member that is read as text."""


@dataclass
class Group:
    """The members of one utterance."""

    tar: str
    key: str
    members: dict[str, Member] = field(default_factory=dict)
    """By suffix, in lower case."""
    problem: str | None = None
    """Why it can't be used."""

    @property
    def name(self) -> str:
        """Tar and key, for the ledger."""
        return f"{self.tar}: {self.key}"

    def add(self, suffix: str, member: Member) -> None:
        """Add a member, or note what is wrong with it."""
        if member.problem:
            self.problem = self.problem or f"member .{suffix} can't be read: {member.problem}"
        elif suffix in self.members:
            self.problem = self.problem or f"two members .{suffix}"
        else:
            self.members[suffix] = member

    def audio(self) -> Span:
        """Return where the audio lies. Unusable unless there is exactly one."""
        found = [suffix for suffix in AUDIO_SUFFIXES if suffix in self.members]
        if len(found) != 1:
            raise Unusable("no audio member" if not found else "several audio members")
        member = self.members[found[0]]
        return Span(self.tar, member.offset, member.size)

    def bytes_of(self, suffix: str, storage: Storage) -> bytes | None:
        """Return the content of a small member, None if there is none. Unusable if it is too long."""
        member = self.members.get(suffix)
        if member is None:
            return None
        if member.size > MAX_FIELD_BYTES:
            raise Unusable(f"member .{suffix} has more than {MAX_FIELD_BYTES} bytes")
        return storage.read(self.tar, member.offset, member.size)

    def text(self, storage: Storage) -> str:
        """Return the transcript. Unusable if there is none in UTF-8."""
        content = self.bytes_of("txt", storage)
        if content is None:
            raise Unusable("no member .txt")
        try:
            return content.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise Unusable("member .txt is not UTF-8") from None


def usable_groups(path: str, storage: Storage, end_mark: bool = True) -> Iterator[Group | Lost]:
    """Yield the utterances of a tar, and what is lost. OSError if there is no such file, ValueError if it is no tar.

    `end_mark`: its writer ends tars as it should, so that one without an end has been cut off.
    """
    found = False
    for group in groups(path, storage):
        if isinstance(group, Group) and group.problem is None:
            found = True
            yield group
        else:
            yield Lost(group.name, group.problem) if isinstance(group, Group) else group
    if end_mark and not _has_end(path, storage):
        yield Lost(f"{path}: end", "the tar has no end mark: what followed is missing")
    if not found:
        raise ValueError(f"{path}: holds no whole utterance; unpack it if it is compressed, or take it off the list")


def groups(path: str, storage: Storage) -> Iterator[Group | Lost]:
    """Yield the utterances of a tar in order; those beside damage have a problem, damage itself is a loss."""
    group, damaged = None, False
    size = storage.size(path)
    with storage.open(path, size=size) as tar:
        for found in members(tar, size):
            if isinstance(found, Damage):
                damaged = True
                if group is not None:
                    group.problem = BESIDE_DAMAGE
                yield Lost(f"{path}: bytes {found.start} to {found.end}", "damaged part of a tar")
                continue
            key, suffix = split_name(found.name)
            if group is None or group.key != key:
                if group is not None:
                    yield group
                group = Group(path, key, problem=BESIDE_DAMAGE if damaged else _hostile(key, suffix))
            damaged = False
            group.add(suffix, found)
    if group is not None:
        yield group


def split_name(name: str) -> tuple[str, str]:
    """Return the key and the suffix (lower case) of a member's name: the last dot divides them."""
    key, _, suffix = name.removeprefix("./").rpartition(".")
    return (name, "") if "/" in suffix or not key else (key, suffix.lower())


def _has_end(path: str, storage: Storage) -> bool:
    size = storage.size(path)
    end = storage.read(path, max(0, size - END_MARK_BYTES), END_MARK_BYTES)
    return len(end) == END_MARK_BYTES and not end.strip(b"\0")


def _hostile(key: str, suffix: str) -> str | None:
    try:
        check_key(key)
    except ValueError:
        return "the name of a member can't be a key (empty, absolute, '..' or control)"
    return None if suffix else "the name of a member has no suffix"
