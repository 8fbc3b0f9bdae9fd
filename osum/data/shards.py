"""WeNet-readable tars: the only code that knows how utterances lie in them.

Per utterance three consecutive members share everything up to the last dot: ``KEY.flac`` or ``KEY.wav`` (16 kHz,
16 bit, mono), ``KEY.txt`` (transcript, empty where unknown), ``KEY.json`` (`Utterance.to_json`). A ``/`` in a key
becomes a folder. The same utterances give the same bytes: no times, no owners.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

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
    """Write one tar; the caller renames the folder it lies in when all is well."""

    def __init__(self, path: Path, audio_format: AudioFormat) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by __exit__
        self._suffix = audio_format

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._tar.close()

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
        return self._tar.offset - -(-len(data) // 512) * 512


def verify(path: Path, placed: list[Placed]) -> None:
    """Compare a written tar with what was meant to be in it. ValueError naming the tar and the first difference."""
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    if len(members) != 3 * len(placed):
        raise ValueError(f"{path}: {len(members)} members instead of {3 * len(placed)}; write the shard again")
    for i, place in enumerate(placed):
        audio, about = members[3 * i], members[3 * i + 2]
        found = (audio.offset_data, audio.size, about.offset_data, about.size)
        meant = (place.audio_offset, place.audio_size, place.json_offset, place.json_size)
        if found != meant or about.name != f"{place.utterance.key}.json":
            raise ValueError(f"{path}: {about.name} lies at {found}, not {meant}; write the shard again")
