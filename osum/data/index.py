"""Random access to the utterances of a split: fixed-size rows beside the tars, memory-mapped, no tar is scanned.

Files in the folder of a split: ``index.npy`` (rows), ``index_keys.npy`` (bytes of all keys), ``index_ends.npy`` (where
each key ends), ``index.json`` (header: shards relative to the folder, names of tasks, corpora and languages).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osum.audio import io as audio_io
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.shards import Placed
from osum.outputs import atomic_write
from osum.types import Utterance

ROW = np.dtype(
    [
        ("key_hash", "<u8"),
        ("audio_offset", "<u8"),
        ("json_offset", "<u8"),
        ("tasks", "<u8"),
        ("shard", "<u4"),
        ("audio_size", "<u4"),
        ("json_size", "<u4"),
        ("num_samples", "<u4"),
        ("corpus", "<u2"),
        ("language", "<u2"),
    ]
)
"""52 bytes an utterance; bit t of `tasks` stands for the t-th task of the header."""
MAX_OPEN_SHARDS = 64
VERSION = 1


@dataclass(frozen=True)
class Header:
    """What all rows share."""

    shards: list[str]
    """Tar paths relative to the folder of the index."""
    tasks: list[str]
    corpora: list[str]
    languages: list[str]
    fingerprint: str
    """Hash of rows and keys."""
    version: int = VERSION


class Index:
    """The utterances of one split, by row."""

    def __init__(self, folder: Path, header: Header, rows: np.ndarray, keys: np.ndarray, ends: np.ndarray) -> None:
        self.folder, self.header, self.rows = folder, header, rows
        self._keys, self._ends = keys, ends
        self._files: OrderedDict[int, int] = OrderedDict()

    @classmethod
    def open(cls, folder: Path | str) -> Index:
        """Map the index of a split. ValueError or FileNotFoundError naming the file and the remedy."""
        folder = Path(folder)
        if not (folder / "index.json").is_file():
            raise FileNotFoundError(f"{folder / 'index.json'}: not found; run the shard stage first")
        obj = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if obj.get("version") != VERSION:
            found = obj.get("version")
            raise ValueError(f"{folder / 'index.json'}: version {found}, not {VERSION}; run the shard stage again")
        header = Header(**obj)
        rows, keys, ends = (_map(folder / name) for name in ("index.npy", "index_keys.npy", "index_ends.npy"))
        if rows.dtype != ROW or len(rows) != len(ends) or (len(ends) and int(ends[-1]) != len(keys)):
            raise ValueError(f"{folder / 'index.npy'}: rows and keys do not fit together; run the shard stage again")
        return cls(folder, header, rows, keys, ends)

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker maps the files itself: pickling a memory map would copy it, and file numbers mean nothing elsewhere.
        return Index.open, (self.folder,)

    def key(self, row: int) -> str:
        """Return the key of a row."""
        start = int(self._ends[row - 1]) if row else 0
        return self._keys[start : int(self._ends[row])].tobytes().decode()

    def keys(self) -> list[str]:
        """Return all keys in row order."""
        return [self.key(row) for row in range(len(self))]

    def language(self, row: int) -> str:
        """Return the language code of a row."""
        return self.header.languages[int(self.rows[row]["language"])]

    def utterance(self, row: int) -> Utterance:
        """Read what is known of a row. ValueError naming shard and key if the member is damaged."""
        place = self.rows[row]
        data = self._read(row, int(place["json_offset"]), int(place["json_size"]))
        try:
            utterance = Utterance.from_json(json.loads(data))
        except (ValueError, TypeError, AttributeError) as err:
            raise ValueError(f"{self._place(row)}: damaged JSON member ({err}); run the shard stage again") from err
        if utterance.key != self.key(row):
            raise ValueError(f"{self._place(row)}: holds {utterance.key!r}; the tar is not the one that was indexed")
        return utterance

    def audio(self, row: int) -> np.ndarray:
        """Decode the audio of a row: (num_samples,) float32 at 16 kHz. ValueError naming shard and key if damaged."""
        place, name = self.rows[row], self._place(row)
        data = self._read(row, int(place["audio_offset"]), int(place["audio_size"]))
        audio, rate_hz = audio_io.load(data, name=name)
        found, meant = (audio.shape[0], rate_hz), (int(place["num_samples"]), SAMPLE_RATE_HZ)
        if found != meant:
            raise ValueError(f"{name}: (samples, Hz) are {found}, not {meant}; run the shard stage again")
        return audio

    def _place(self, row: int) -> str:
        return f"{self.folder / self.header.shards[int(self.rows[row]['shard'])]}: {self.key(row)}"

    def _read(self, row: int, offset: int, size: int) -> bytes:
        data = os.pread(self._descriptor(int(self.rows[row]["shard"])), size, offset)
        if len(data) != size:
            raise ValueError(f"{self._place(row)}: the tar ends inside this member; run the shard stage again")
        return data

    def _descriptor(self, shard: int) -> int:
        """Open shards, the most recently used last; the number of open files is bounded."""
        if shard not in self._files:
            self._files[shard] = os.open(self.folder / self.header.shards[shard], os.O_RDONLY | os.O_CLOEXEC)
            if len(self._files) > MAX_OPEN_SHARDS:
                os.close(self._files.popitem(last=False)[1])
        self._files.move_to_end(shard)
        return self._files[shard]


def key_hash(key: str) -> int:
    """Return 64 bits that depend on the key alone: what random choices about an utterance start from."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def write(folder: Path, shards: Sequence[str], placed: Iterable[tuple[int, Placed]]) -> Header:
    """Write the index of a split from (shard number, place) pairs. ValueError for a key that comes twice."""
    entries = list(placed)
    tasks = sorted({t for _, p in entries for t in p.utterance.tasks})
    corpora = sorted({p.utterance.corpus for _, p in entries})
    languages = sorted({p.utterance.language for _, p in entries})
    if len(tasks) > 64:
        raise ValueError(f"{len(tasks)} task names, but a row has room for 64; narrow the tasks of the annotate stage")
    rows = np.zeros(len(entries), dtype=ROW)
    seen: set[str] = set()
    for i, (shard, p) in enumerate(entries):
        u = p.utterance
        if u.key in seen:
            raise ValueError(f"{folder}: key {u.key!r} comes twice; keys must be unique in a split")
        seen.add(u.key)
        mask = sum(1 << tasks.index(t) for t in u.tasks)
        place = (p.audio_offset, p.json_offset, mask, shard, p.audio_size, p.json_size, u.num_samples)
        rows[i] = (key_hash(u.key), *place, corpora.index(u.corpus), languages.index(u.language))
    encoded = [p.utterance.key.encode() for _, p in entries]
    keys = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    ends = np.cumsum([len(k) for k in encoded], dtype=np.uint64) if encoded else np.zeros(0, dtype=np.uint64)
    fingerprint = hashlib.blake2b(rows.tobytes() + keys.tobytes(), digest_size=12).hexdigest()
    header = Header(list(shards), tasks, corpora, languages, fingerprint)
    for name, array in (("index.npy", rows), ("index_keys.npy", keys), ("index_ends.npy", ends)):
        save_array(folder / name, array)
    atomic_write(folder / "index.json", json.dumps(asdict(header), ensure_ascii=False, indent=1) + "\n")
    return header


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file, whole or not at all (`np.save` to a full disk would not say that the disk is full)."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    atomic_write(path, buffer.getvalue())


def _map(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as err:
        raise ValueError(f"{path}: not a whole array file ({err}); run the shard stage again") from err
