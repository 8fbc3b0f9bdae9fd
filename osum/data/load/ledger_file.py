"""What became of the utterances of each rank, from one checkpoint to the next: exact over kills and other ranks.

Each rank has a file of its own, `ledger.N.jsonl`. A line is written before a checkpoint and at the end of an epoch, and
says which steps it is about: so no line is of steps on both sides of one that a run can resume from.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from osum import log
from osum.data.examples import Dropped
from osum.outputs import atomic_write, needing_space

Pair = tuple[str, str]
"""Corpus and task."""

logger = log.get(__name__)


class Drop(NamedTuple):
    """An utterance that was planned and not used. Step (within the epoch), key, task and copy say which."""

    step: int
    key: str
    task: str
    copy: int
    corpus: str
    reason: str


@dataclass
class Entry:
    """Some steps of one epoch on one rank."""

    plan: str
    """Identity of the plan that the steps are of."""
    epoch: int
    first: int
    """Number of the first step within the epoch."""
    end: int
    """Number after that of the last step."""
    num_ranks: int
    planned: Counter[Pair] = field(default_factory=Counter)
    used: Counter[Pair] = field(default_factory=Counter)
    dropped: list[Drop] = field(default_factory=list)
    noted: list[tuple[str, str]] = field(default_factory=list)
    """(key, remark) of utterances that are used, but not as asked for."""

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that `from_json` reads."""
        counts = {name: [[*pair, n] for pair, n in sorted(getattr(self, name).items())] for name in ("planned", "used")}
        return {**vars(self), **counts, "dropped": [d._asdict() for d in self.dropped]}

    @classmethod
    def from_json(cls, obj: dict[str, Any]) -> Entry:
        """Build from the plain form. ValueError, KeyError or TypeError if it is none."""
        counts = {name: Counter({(c, t): int(n) for c, t, n in obj[name]}) for name in ("planned", "used")}
        noted = [(key, remark) for key, remark in obj.get("noted", ())]
        return cls(**{**obj, **counts, "dropped": [Drop(**d) for d in obj["dropped"]], "noted": noted})


class LedgerFile:
    """The file of one rank, and what is not yet written to it."""

    def __init__(self, folder: Path | None, rank: int, num_ranks: int, plan: str) -> None:
        """Without a folder nothing is kept. `plan` is the identity of the plan."""
        self._folder, self._rank, self._num_ranks, self._plan = folder, rank, num_ranks, plan
        self._entry: Entry | None = None

    def go_on(self, epoch: int, step: int) -> None:
        """Take back what is noted of this step and later ones, and what a kill cut short.

        Rank r of W does so in the files r, r + W, ...: the run before may have had more ranks.
        """
        self._entry = None
        for number, path in self._paths():
            if number % self._num_ranks == self._rank:
                kept = [e for e in _read(path) if e.plan != self._plan or (e.epoch, e.end) <= (epoch, step)]
                atomic_write(path, "".join(map(_line, kept)))

    def add(
        self,
        epoch: int,
        step: int,
        planned: Counter[Pair],
        used: Counter[Pair],
        dropped: Iterable[Dropped],
        noted: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Note what became of a step's utterances; steps come one after the other."""
        if self._folder is None:
            return
        if self._entry is not None and self._entry.epoch != epoch:
            self.write()
        if self._entry is None:
            self._entry = Entry(self._plan, epoch, step, step, self._num_ranks)
        assert self._entry.end == step, (self._entry.end, step)
        self._entry.end += 1
        self._entry.planned += planned
        self._entry.used += used
        self._entry.dropped += [Drop(step, d.key, d.task, d.copy, d.corpus, d.reason) for d in dropped]
        self._entry.noted += noted

    def write(self) -> None:
        """Append what was noted since the last time. OSError naming the file if there is no room."""
        if self._folder is None or self._entry is None:
            return
        path = self._folder / f"ledger.{self._rank}.jsonl"
        with needing_space(path), open(path, "a", encoding="utf-8") as f:
            f.write(_line(self._entry))
            f.flush()
            os.fsync(f.fileno())  # a checkpoint that outlives its machine must not know more than this file
        self._entry = None

    def entries(self, epoch: int) -> list[Entry]:
        """Return what all ranks have written of an epoch of this plan."""
        return [e for _, path in self._paths() for e in _read(path) if (e.plan, e.epoch) == (self._plan, epoch)]

    def _paths(self) -> list[tuple[int, Path]]:
        """Return the files of all ranks, of the run before too, with their ranks."""
        found = self._folder.glob("ledger.*.jsonl") if self._folder else ()
        return sorted((int(number), p) for p in found if (number := p.name.split(".")[1]).isdecimal())


def _line(entry: Entry) -> str:
    return json.dumps(entry.to_json(), ensure_ascii=False) + "\n"


def _read(path: Path) -> Iterator[Entry]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            yield Entry.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            # A kill cut it short, and its steps are done again; if something else did, they will be missed.
            logger.warning("ledger skip file=%s line=%d reason=%s", path, number, err)
