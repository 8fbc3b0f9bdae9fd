"""WeNet-readable tars: the only code that knows how utterances lie in them.

Per utterance three consecutive members share everything up to the last dot: ``KEY.flac`` or ``KEY.wav`` (16 kHz,
16 bit, mono), ``KEY.txt`` (transcript, empty where unknown), ``KEY.json`` (`Utterance.to_json`). A ``/`` in a key
becomes a folder. The same utterances give the same bytes: no times, no owners.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from osum.audio.io import AudioFormat
from osum.types import Utterance

LIST_NAME = "shards.list"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Placed:
    """Where the members of one utterance lie in their tar, bytes."""

    utterance: Utterance
    audio_offset: int
    audio_size: int
    json_offset: int
    json_size: int


class Member(NamedTuple):
    """A member as it was meant, for finding the one that is damaged."""

    name: str
    offset: int
    size: int
    crc32: int


@dataclass
class Written:
    """What has been written to a tar, whatever the disk made of it."""

    num_bytes: int = 0
    sha256: str = ""
    members: list[Member] = field(default_factory=list)


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard_{number:09d}.tar"


def check_key(key: str) -> str:
    """Return the key. ValueError for one that can't name a member, or would leave the folder it is unpacked in."""
    parts = key.split("/")
    if not key or key.startswith("/") or any(p in ("", ".", "..") for p in parts) or _CONTROL.search(key):
        raise ValueError(f"key {key!r} can't name a member of a shard (empty, absolute, '..' or control); rename it")
    return key


class ShardWriter:
    """Write one tar, which is on disk when the writer is closed; `written` then says what should be there."""

    def __init__(self, path: Path, audio_format: AudioFormat) -> None:
        self._file = _HashedFile(path)
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._suffix = audio_format
        self.written = Written()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._tar.close()
        finally:
            self._file.close()
        self.written.num_bytes, self.written.sha256 = self._file.tell(), self._file.sha256.hexdigest()

    def add(self, utterance: Utterance, audio: bytes) -> Placed:
        """Append one utterance with the bytes of its audio file. ValueError for a key that can't be a member name."""
        key = check_key(utterance.key)
        about = json.dumps(utterance.to_json(), ensure_ascii=False, sort_keys=True).encode()
        audio_offset = self._member(f"{key}.{self._suffix}", audio)
        self._member(f"{key}.txt", (utterance.text or "").encode())
        json_offset = self._member(f"{key}.json", about)
        return Placed(utterance, audio_offset, len(audio), json_offset, len(about))

    def _member(self, name: str, data: bytes) -> int:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o644, 0
        self._tar.addfile(info, io.BytesIO(data))
        # The tar stands at the end of the member's last block of 512 bytes.
        offset = self._tar.offset - -(-len(data) // 512) * 512
        self.written.members.append(Member(name, offset, len(data), zlib.crc32(data)))
        return offset


class _HashedFile:
    """A file of which the hash is known without reading it: what tarfile needs of one."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close
        self.sha256, self._size = hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self._size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._size

    def close(self) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


def verify(path: Path, num_bytes: int, sha256: str, members: list[Member] | None = None) -> None:
    """Compare a tar on disk with what was written to it. ValueError naming the tar, and of `members` the damaged one.

    OSError if it can't be read.
    """
    size = path.stat().st_size
    if size == num_bytes and file_sha256(path) == sha256:
        return
    found = f"has {size} bytes, not {num_bytes}" if size != num_bytes else "does not hold what was written to it"
    where = _first_difference(path, members or [])
    raise ValueError(f"{path}: {found}{where}; write the shard again, and check disk and memory if that is repeated")


def file_sha256(path: Path) -> str:
    """Return the hash of what the disk holds of a file."""
    forget_cached(path)
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def forget_cached(path: Path) -> None:
    """Have the system read a file from the disk again, and not from the memory that it was written from."""
    with open(path, "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _first_difference(path: Path, members: list[Member]) -> str:
    with open(path, "rb") as f:
        for member in members:
            f.seek(member.offset)
            if zlib.crc32(f.read(member.size)) != member.crc32:
                return f" (first in {member.name})"
    return " (outside of its members)" if members else ""


def read_placed(path: Path) -> list[Placed]:
    """Read back what a tar of ours holds. ValueError naming the tar and the first member that is out of place."""
    try:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            return [_placed(tar, *members[i : i + 3]) for i in range(0, len(members), 3)]
    except (tarfile.TarError, ValueError, TypeError) as err:
        raise ValueError(f"{path}: {err}; write the shard again") from err


def _placed(tar: tarfile.TarFile, audio: tarfile.TarInfo, *others: tarfile.TarInfo) -> Placed:
    key = audio.name.rpartition(".")[0]
    if [other.name for other in others] != [f"{key}.txt", f"{key}.json"]:
        raise ValueError(f"{audio.name} is not followed by the text and the JSON of the same key")
    text, about = (tar.extractfile(member).read() for member in others)
    utterance = Utterance.from_json(json.loads(about))
    if utterance.key != key or text != (utterance.text or "").encode():
        raise ValueError(f"{others[1].name} does not belong to the members before it")
    return Placed(utterance, audio.offset_data, audio.size, others[1].offset_data, others[1].size)
