"""Seeded damage: what disks, networks and people do to files, and what somebody who means harm would."""

import gzip
import io
import tarfile

import numpy as np

HOSTILE_NAMES = ("../x.wav", "/x.wav", "x", ".wav", "a/../../x.txt", "x\x01.wav", "..", "x" * 99, "\udcff.txt", "")
HOSTILE_TYPES = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
EXTENSION_TYPES = (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE)
HOSTILE_VALUES = (
    b"null", b"-1", b"1e999", b"[]", b"{}", b'""', b'"\\ud800"', b'"../x"', b'"/dev/zero"', b"NaN", b"true",
    b'"\\u0000"', b"9" * 400, b"[" * 5_000, b'"<b>"',
)  # fmt: skip
Bytes = bytes
Rng = np.random.Generator


def flip(content: Bytes, rng: Rng) -> Bytes:
    """Flip one to twenty bits."""
    changed = bytearray(content)
    for place in rng.integers(0, len(content), int(rng.integers(1, 21))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(content: Bytes, rng: Rng) -> Bytes:
    """Keep the beginning."""
    return content[: int(rng.integers(len(content)))]


def _range(content: Bytes, rng: Rng) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(2 ** rng.uniform(0, 12)))


def cut_out(content: Bytes, rng: Rng) -> Bytes:
    """Take a piece out."""
    start, end = _range(content, rng)
    return content[:start] + content[end:]


def junk(content: Bytes, rng: Rng) -> Bytes:
    """Put random bytes in, or in place of a piece."""
    start, end = _range(content, rng)
    kept = end if rng.random() < 0.5 else start
    return content[:start] + rng.bytes(end - start) + content[kept:]


def zeros(content: Bytes, rng: Rng) -> Bytes:
    """Overwrite a piece with zeros, as a file system after a crash."""
    start, end = _range(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def repeat(content: Bytes, rng: Rng) -> Bytes:
    """Write a piece twice."""
    start, end = _range(content, rng)
    return content[:end] + content[start:]


GENERAL = (flip, truncate, cut_out, junk, zeros, repeat)


def header(content: Bytes, rng: Rng) -> Bytes:
    """Give a member of a tar a hostile name, a wrong size or another type, with a right checksum."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = tar.getmembers()
    member = members[int(rng.integers(len(members)))]
    kind = int(rng.integers(4))
    changed = tarfile.TarInfo(member.name)
    changed.size = member.size
    if kind == 0:
        changed.name = HOSTILE_NAMES[int(rng.integers(len(HOSTILE_NAMES)))]
    elif kind == 1:
        sizes = (0, 1, member.size // 2, member.size + 700, 8**11 - 1, 2**62, -1)
        changed.size = sizes[int(rng.integers(len(sizes)))]
    elif kind == 2:
        changed.type, changed.linkname = HOSTILE_TYPES[int(rng.integers(len(HOSTILE_TYPES)))], "/etc/passwd"
    else:
        changed.type = EXTENSION_TYPES[int(rng.integers(len(EXTENSION_TYPES)))]
    block = changed.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")[:512]
    return content[: member.offset] + block + content[member.offset_data :]


def audio(content: Bytes, rng: Rng) -> Bytes:
    """Damage the header of an audio file, here a member of a tar: rates, channels, lengths, magic numbers."""
    starts = [i for magic in (b"RIFF", b"fLaC") for i in _places(content, magic)]
    if not starts:
        return flip(content, rng)
    changed = bytearray(content)
    place = starts[int(rng.integers(len(starts)))] + int(rng.integers(44))
    values = (b"\0\0\0\0", b"\xff\xff\xff\xff", rng.bytes(4), b"\1\0\0\0")
    changed[place : place + 4] = values[int(rng.integers(len(values)))]
    return bytes(changed[: len(content)])


def _places(content: Bytes, wanted: Bytes) -> list[int]:
    found, start = [], content.find(wanted)
    while start >= 0:
        found.append(start)
        start = content.find(wanted, start + 1)
    return found


def value(content: Bytes, rng: Rng) -> Bytes:
    """Replace a value of JSON, or lines, by something that nobody expects there."""
    places = _places(content, b'": ') or _places(content, b"\n")
    if not places:
        return flip(content, rng)
    start = places[int(rng.integers(len(places)))]
    start += 3 if content[start : start + 1] == b'"' else 1
    ends = [e for e in (content.find(c, start) for c in (b",", b"}", b"\n")) if e >= 0]
    hostile = HOSTILE_VALUES[int(rng.integers(len(HOSTILE_VALUES)))]
    return content[:start] + hostile + content[min(ends, default=len(content)) :]


def inside_gzip(change):
    """Apply a change to what is compressed."""

    def changed(content: Bytes, rng: Rng) -> Bytes:
        return gzip.compress(change(gzip.decompress(content), rng), mtime=0)

    return changed


OF_TAR = (*GENERAL, header, header, header, audio, audio)
OF_LIST = (*GENERAL, value, value, value)
OF_GZIP = (*GENERAL, *map(inside_gzip, OF_LIST))
