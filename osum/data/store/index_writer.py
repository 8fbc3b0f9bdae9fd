"""Write the index of a split, in one pass over its utterances: rows go to disk, 24 bytes each are held at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeVar

import numpy as np

from osum.data.store.index import FREE_TEXT, ROW, Header, fingerprint, key_hash, speaker_hash
from osum.data.store.shards import Placed
from osum.outputs import atomic_write

ROWS_PER_CHUNK = 8_192
MAX_TASKS = 64
MAX_NAMES = 65_536
"""Of corpora and of languages, for which a row has two bytes; and of label sets, which every header holds."""

Labels = tuple[tuple[str, str], ...]
"""Fields with their labels, in alphabetical order."""
Name = TypeVar("Name", str, Labels)


def write(
    folder: Path, shards: Iterable[str], placed: Iterable[tuple[int, Placed]], utterances: str | None = None
) -> Header:
    """Write the index of a split from (shard number, place) pairs. ValueError for a key that comes twice.

    `shards` is read after `placed`. `utterances` names the file in the folder that the JSON places are in, if it is
    not the shards. The files are on disk when this returns.
    """
    names = _Names()
    with ExitStack() as stack:
        rows, keys, ends = (
            stack.enter_context(_Table(folder / name, dtype))
            for name, dtype in (("index.npy", ROW), ("index_keys.npy", np.uint8), ("index_ends.npy", np.uint64))
        )
        entries, end = iter(placed), 0
        while chunk := list(islice(entries, ROWS_PER_CHUNK)):
            rows.append(np.array([names.row(shard, p) for shard, p in chunk], dtype=ROW))
            encoded = [p.utterance.key.encode() for _, p in chunk]
            keys.append(np.frombuffer(b"".join(encoded), dtype=np.uint8))
            ends.append(end + np.cumsum([len(key) for key in encoded], dtype=np.uint64))
            end += sum(map(len, encoded))
        written, key_bytes, key_ends = rows.map(), keys.map(), ends.map()
        names.put_in_order(written)
        _refuse_doubles(folder, written, key_bytes, key_ends)
        hashed = fingerprint(written, key_bytes)
        for table in (rows, keys, ends):
            table.keep()
    header = Header(
        list(shards),
        sorted(names.tasks),
        sorted(names.corpora),
        sorted(names.languages),
        hashed,
        utterances=utterances,
        label_sets=[dict(labels) for labels in sorted(names.label_sets)],
    )
    atomic_write(folder / "index.json", json.dumps(asdict(header), ensure_ascii=False, indent=1) + "\n")
    return header


class _Table:
    """A .npy file of one axis that grows; it takes its name when it is kept, and else goes.

    numpy leaves room in its header for the length, which is written there in the end.
    """

    def __init__(self, path: Path, dtype: np.typing.DTypeLike) -> None:
        self._path, self._dtype, self._count = path, np.dtype(dtype), 0
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> _Table:
        self._file: BinaryIO = open(self._partial, "w+b")
        self._write_header()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def append(self, array: np.ndarray) -> None:
        """Add (n,) of our dtype at the end."""
        assert array.dtype == self._dtype and array.ndim == 1
        self._file.write(array.tobytes())
        self._count += len(array)

    def map(self) -> np.ndarray:
        """Return all of it, to be changed in place; nothing can be added any more."""
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        return np.load(self._partial, mmap_mode="r+")

    def keep(self) -> None:
        """Give the file its name, once the disk has its content."""
        os.fsync(self._file.fileno())
        os.replace(self._partial, self._path)

    def _write_header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        about = {"descr": descr, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._file, about)


class _Names:
    """Names and their numbers: in order of appearance while rows are made, alphabetical in the end."""

    def __init__(self) -> None:
        self.tasks: dict[str, int] = {}
        self.corpora: dict[str, int] = {}
        self.languages: dict[str, int] = {}
        self.label_sets: dict[Labels, int] = {}

    def row(self, shard: int, p: Placed) -> tuple[int, ...]:
        """Return the values of a row. ValueError if there are more names than a row has room for."""
        u = p.utterance
        mask = sum(1 << _number(self.tasks, t, MAX_TASKS, "task names") for t in set(u.tasks))
        labels = tuple(sorted((name, label) for name, label in u.labels.items() if name not in FREE_TEXT))
        return (
            *(key_hash(u.key), p.audio_offset, p.json_offset, mask, speaker_hash(u.corpus, u.speaker)),
            *(shard, p.audio_size, p.json_size, u.num_samples),
            _number(self.label_sets, labels, MAX_NAMES, "combinations of labels"),
            _number(self.corpora, u.corpus, MAX_NAMES, "corpus names"),
            _number(self.languages, u.language, MAX_NAMES, "language names"),
        )

    def put_in_order(self, rows: np.ndarray) -> None:
        """Give rows the alphabetical numbers of names, in place."""
        for start in range(0, len(rows), ROWS_PER_CHUNK):
            chunk = rows[start : start + ROWS_PER_CHUNK]
            for field, numbers in (
                ("corpus", self.corpora),
                ("language", self.languages),
                ("labels", self.label_sets),
            ):
                chunk[field] = _ranks(numbers).astype(chunk[field].dtype)[chunk[field]]
            masks = np.zeros(len(chunk), dtype=np.uint64)
            for bit, rank in enumerate(_ranks(self.tasks)):
                masks |= ((chunk["tasks"] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(rank)
            chunk["tasks"] = masks


def _number(numbers: dict[Name, int], name: Name, room: int, what: str) -> int:
    number = numbers.setdefault(name, len(numbers))
    if number >= room:
        raise ValueError(f"more than {room} {what}, for which a row has no room; narrow them down")
    return number


def _ranks(numbers: Mapping[Name, int]) -> np.ndarray:
    """(len(numbers),) int64: the alphabetical number of each name, by its number of appearance."""
    rank = {name: r for r, name in enumerate(sorted(numbers))}
    return np.array([rank[name] for name in numbers], dtype=np.int64)


def _refuse_doubles(folder: Path, rows: np.ndarray, keys: np.ndarray, ends: np.ndarray) -> None:
    order = np.argsort(rows["key_hash"], kind="stable")
    hashes = rows["key_hash"][order]
    for i in np.flatnonzero(hashes[1:] == hashes[:-1]):
        first, second = (keys[int(ends[row - 1]) if row else 0 : int(ends[row])].tobytes() for row in order[i : i + 2])
        if first == second:
            raise ValueError(f"{folder}: key {first.decode()!r} comes twice; keys must be unique in a split")
