"""Write the index of a split, in one pass over its utterances: some hundred bytes of memory each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np

from osum.data.index import ROW, Header, fingerprint, key_hash, save_array
from osum.data.shards import Placed
from osum.outputs import atomic_write

ROWS_PER_CHUNK = 65_536
MAX_TASKS = 64
MAX_NAMES = 65_536


def write(
    folder: Path, shards: Iterable[str], placed: Iterable[tuple[int, Placed]], utterances: str | None = None
) -> Header:
    """Write the index of a split from (shard number, place) pairs. ValueError for a key that comes twice.

    `shards` is read after `placed`. `utterances` names the file in the folder that the JSON places are in, if it is
    not the shards.
    """
    names, chunks, keys, ends = _Names(), [np.zeros(0, dtype=ROW)], bytearray(), []
    entries = iter(placed)
    while chunk := list(islice(entries, ROWS_PER_CHUNK)):
        chunks.append(np.array([names.row(shard, p) for shard, p in chunk], dtype=ROW))
        for _, p in chunk:
            keys += p.utterance.key.encode()
            ends.append(len(keys))
    tables = {
        "index.npy": names.in_order(np.concatenate(chunks)),
        "index_keys.npy": np.frombuffer(bytes(keys), dtype=np.uint8),
        "index_ends.npy": np.array(ends, dtype=np.uint64),
    }
    rows, key_bytes, key_ends = tables.values()
    _refuse_doubles(folder, rows, key_bytes, key_ends)
    hashed = fingerprint(rows, key_bytes)
    header = Header(list(shards), sorted(names.tasks), sorted(names.corpora), sorted(names.languages), hashed)
    header = Header(**{**asdict(header), "utterances": utterances})
    for name, array in tables.items():
        save_array(folder / name, array)
    atomic_write(folder / "index.json", json.dumps(asdict(header), ensure_ascii=False, indent=1) + "\n")
    return header


class _Names:
    """Names and their numbers: in order of appearance while rows are made, alphabetical in the end."""

    def __init__(self) -> None:
        self.tasks: dict[str, int] = {}
        self.corpora: dict[str, int] = {}
        self.languages: dict[str, int] = {}

    def row(self, shard: int, p: Placed) -> tuple[int, ...]:
        """Return the values of a row. ValueError if there are more names than a row has room for."""
        u = p.utterance
        mask = sum(1 << _number(self.tasks, t, MAX_TASKS, "task") for t in set(u.tasks))
        corpus = _number(self.corpora, u.corpus, MAX_NAMES, "corpus")
        language = _number(self.languages, u.language, MAX_NAMES, "language")
        place = (p.audio_offset, p.json_offset, mask, shard, p.audio_size, p.json_size, u.num_samples)
        return (key_hash(u.key), *place, corpus, language)

    def in_order(self, rows: np.ndarray) -> np.ndarray:
        """Return rows with the alphabetical numbers of names."""
        rows = rows.copy()
        for field, numbers in (("corpus", self.corpora), ("language", self.languages)):
            rows[field] = _ranks(numbers).astype(rows[field].dtype)[rows[field]]
        masks = np.zeros(len(rows), dtype=np.uint64)
        for bit, rank in enumerate(_ranks(self.tasks)):
            masks |= ((rows["tasks"] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(rank)
        rows["tasks"] = masks
        return rows


def _number(numbers: dict[str, int], name: str, room: int, what: str) -> int:
    number = numbers.setdefault(name, len(numbers))
    if number >= room:
        raise ValueError(f"more than {room} {what} names, for which a row has no room; narrow them down")
    return number


def _ranks(numbers: dict[str, int]) -> np.ndarray:
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
