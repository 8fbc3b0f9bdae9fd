"""`shards.jsonl`: what each tar of a split holds, its hash, and what it was made from. It lets a killed run go on.

A line is added as soon as a tar is on disk and checked; when all are there, the lines are in the order of the tars.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from osum.data.drops import Drops
from osum.outputs import atomic_write

RECORDS_NAME = "shards.jsonl"


@dataclass(frozen=True)
class ShardRecord:
    """One finished tar."""

    name: str
    num_utterances: int
    audio_s: float
    num_bytes: int
    sha256: str
    made_from: str
    """Hash of the cuts and of what else decides its content."""
    drops: dict[str, Any]
    """`Drops.to_json` of the cuts that it was made from."""

    @property
    def has_defects(self) -> bool:
        """Whether utterances are missing that may be repaired."""
        return Drops.from_json(self.drops).num_defects > 0


class Records:
    """The records of a split: those of earlier runs, and those that come."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Read what there is, and forget the records of other tars than `names`."""
        self._path, self._names = folder / RECORDS_NAME, names
        known = read_records(folder)
        self.known = {name: known[name] for name in names if name in known}
        # Written anew, for a kill may have cut the last line short.
        _save(self._path, self.known.values())

    def __enter__(self) -> Records:
        self._file = open(self._path, "a", encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def add(self, record: ShardRecord) -> None:
        """Note a tar that is on disk, lastingly."""
        if self.known.get(record.name) != record:
            self._file.write(_line(record))
            self._file.flush()
            os.fsync(self._file.fileno())
        self.known[record.name] = record

    def finish(self) -> list[ShardRecord]:
        """Put the records of all tars in order, and return them."""
        records = [self.known[name] for name in self._names]
        _save(self._path, records)
        return records


def read_records(folder: Path) -> dict[str, ShardRecord]:
    """Return the records of a split by the name of their tar; a later one counts, and what is no record does not."""
    path, found = folder / RECORDS_NAME, {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            record = ShardRecord(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[record.name] = record
    return found


def forget_defective(folder: Path) -> None:
    """Remove the records of tars that lack utterances: the next run makes these tars again."""
    _save(folder / RECORDS_NAME, [record for record in read_records(folder).values() if not record.has_defects])


def take_over(source: Path, folder: Path) -> None:
    """Move the tars of one folder, with their records, to another. What an earlier move has taken stays there."""
    folder.mkdir(exist_ok=True)
    known = read_records(folder)
    found = {name: record for name, record in read_records(source).items() if (source / name).is_file()}
    # Records first: one without its tar does no harm, a tar without its record would be written again.
    _save(folder / RECORDS_NAME, (known | found).values())
    for name in found:
        os.replace(source / name, folder / name)


def _save(path: Path, records: Iterable[ShardRecord]) -> None:
    atomic_write(path, "".join(map(_line, records)))


def _line(record: ShardRecord) -> str:
    return json.dumps(asdict(record), ensure_ascii=False, sort_keys=True) + "\n"
