"""Walk through a tar that may be damaged or hostile: every byte belongs to a member or is named as damage.

Python's tarfile stops at the first damaged header; this goes on at the next header that is whole. Nothing is unpacked,
no size is believed beyond the file, no name is used as a path.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedReader

BLOCK = 512
SCAN_BYTES = 2**20
"""Read at once in the search for the next header; a multiple of BLOCK."""
EXTENSIONS = frozenset({tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK})
"""Headers that say something about the member that follows, or about all."""
MAX_EXTENSION_BYTES = 2**16
"""Longest extension that is believed: they hold names."""
REGULAR = frozenset({b"0", b"\0", b"7"})


@dataclass(frozen=True)
class Member:
    """An entry of a tar; `problem` says why its bytes must not be used."""

    name: str
    offset: int
    size: int
    problem: str | None = None


@dataclass(frozen=True)
class Damage:
    """Bytes from `start` to `end` that are no part of a whole member."""

    start: int
    end: int


def members(tar: BufferedReader, size: int) -> Iterator[Member | Damage]:
    """Yield what a tar of `size` bytes holds, in order. Folders and end marks are passed over."""
    position, extension = 0, _Extension()
    while position < size:
        tar.seek(position)
        block = tar.read(BLOCK)
        if not block.strip(b"\0"):
            position = _after_zeros(tar, position)
            continue
        info, data = _parse(block), position + BLOCK
        if info is None or (info.type in EXTENSIONS and info.size > MAX_EXTENSION_BYTES):
            end = _next_header(tar, data, size)
            yield Damage(position, end)
            position, extension = end, _Extension()
        elif info.type in EXTENSIONS:
            tar.seek(data)
            extension = extension.and_of(info, tar.read(info.size))
            position = _padded(data + info.size)
        else:
            member = extension.member(info, data, size)
            extension, end = _Extension(), data + member.size
            if info.type != tarfile.DIRTYPE:
                yield member
            if end <= size < _padded(end):  # not even the filling of the last block is whole
                yield Damage(end, size)
            position = _padded(end) if end <= size else _next_header(tar, data, size)


@dataclass(frozen=True)
class _Extension:
    """What extension headers say about the member that follows."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False

    def and_of(self, info: tarfile.TarInfo, content: bytes) -> _Extension:
        """Return this with what one more extension header says."""
        if info.type == tarfile.GNUTYPE_LONGNAME:
            return replace(self, name=_decode(content.rstrip(b"\0")))
        if info.type != tarfile.XHDTYPE:
            return self
        records = dict(_pax_records(content))
        name, size = records.get(b"path"), records.get(b"size", b"")
        return _Extension(
            name=self.name if name is None else _decode(name),
            size=int(size) if size.isdigit() and len(size) < 20 else self.size,
            sparse=any(key.startswith(b"GNU.sparse") for key in records),
        )

    def member(self, info: tarfile.TarInfo, data: int, tar_size: int) -> Member:
        """Return the member that a header with these extensions describes."""
        name = info.name if self.name is None else self.name
        size = info.size if self.size is None else self.size
        problem = "it is a sparse file" if self.sparse else None
        if info.type not in REGULAR:
            problem = "it is a link or a device"
            size = 0 if info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE) else size
        elif any("\udc80" <= c <= "\udcff" for c in name):
            problem, name = "its name is not UTF-8", name.encode("utf-8", "replace").decode()
        elif data + size > tar_size:
            problem = "the tar ends inside it"
        return Member(name, data, size, problem)


def _parse(block: bytes) -> tarfile.TarInfo | None:
    """Return the header in a block, None if there is none that is whole."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return None
    return info if info.size >= 0 else None


def _pax_records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of `length key=value` lines as long as the lengths are right."""
    while content:
        length, _, _ = content[:8].partition(b" ")
        if not length.isdigit() or not len(length) + 3 <= int(length) <= len(content):
            return
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        yield key, value
        content = content[int(length) :]


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _after_zeros(tar: BufferedReader, position: int) -> int:
    """Return where the zero blocks that begin here end: end marks, and the filling after them."""
    tar.seek(position)
    zeros = tar.read(SCAN_BYTES)
    return position + max(BLOCK, (len(zeros) - len(zeros.lstrip(b"\0"))) // BLOCK * BLOCK)


def _padded(position: int) -> int:
    return -(-position // BLOCK) * BLOCK


def _next_header(tar: BufferedReader, position: int, size: int) -> int:
    """Return where the next whole header begins at or after a block boundary, `size` if there is none."""
    while position < size:
        tar.seek(position)
        chunk = tar.read(SCAN_BYTES)
        for start in range(0, len(chunk) - BLOCK + 1, BLOCK):
            if chunk[start + 257 : start + 262] == b"ustar" and _parse(chunk[start : start + BLOCK]):
                return position + start
        position += SCAN_BYTES
    return size
