"""From foreign data to the index that training reads: the audio stays where it is, what is known of it is copied."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from osum import log
from osum.data.corpora.cuts import Unusable
from osum.data.corpora.label_maps import LabelMap
from osum.data.drops import Drops
from osum.data.hashing import SeenHashes
from osum.data.processes import map_fresh
from osum.data.sources import cutsets, lists, original, own, wenet
from osum.data.sources.config import SourceConfig
from osum.data.sources.entries import Entry, Lost, Part
from osum.data.sources.judge import Indexed, Judge, Wanted
from osum.data.store.clips import WHOLE
from osum.data.store.index import CLIP_FIELD, UTTERANCES_NAME, key_hash
from osum.data.store.index_writer import write
from osum.data.store.shards import Placed
from osum.data.store.storage import Storage

FORMATS: dict[str, tuple[Callable[[Path], Iterator[Part]], Callable[[Part, Storage, str | None], Iterator[Entry]]]] = {
    "wenet_raw": (lists.parts, wenet.read_raw),
    "wenet_shard": (lists.tar_parts, wenet.read_shard),
    "original": (lists.tar_parts, original.read),
    "osum": (lists.tar_parts, own.read),
    "lhotse": (lists.parts, cutsets.read_cuts),
    "shar": (cutsets.shar_parts, cutsets.read_shar),
}
"""How a source is divided into parts, and how a part is read."""


@dataclass(frozen=True)
class Job:
    """A part of a source to read and judge."""

    source: SourceConfig
    part: Part
    judge: Judge


def index_split(
    sources: Sequence[SourceConfig], folder: Path, labels_dir: Path, wanted: Wanted, num_procs: int
) -> Drops:
    """Write the index of a split to `folder`. Return what was used and dropped.

    ValueError naming a list, or a tar, that can't be read at all. The output does not depend on `num_procs`.
    """
    folder.mkdir(parents=True)
    split = _Split()
    with open(folder / UTTERANCES_NAME, "wb") as about, log.progress(desc=f"index {folder.name}", unit="utt") as bar:
        placed = split.placed(_results(sources, labels_dir, wanted, num_procs), about, bar.update)
        write(folder, split.files, placed, utterances=UTTERANCES_NAME)
        about.flush()
        os.fsync(about.fileno())
    return split.drops


def read_part(job: Job) -> tuple[list[Indexed], Drops]:
    """Read and judge a part of a source: what can be used, and the account of all that was read."""
    _, read = FORMATS[job.source.format]
    storage, indexed, drops = Storage(), [], Drops()
    for entry in read(job.part, storage, job.source.root):
        drops.read += 1
        if isinstance(entry, Lost):
            drops.add(entry.reason, entry.name, entry.defect)
            continue
        try:
            indexed.append(job.judge(entry, storage))
        except Unusable as unusable:
            drops.add(str(unusable), entry.name, unusable.defect)
            continue
        drops.used += 1
        for note in entry.notes:
            drops.note(note, entry.name)
    return indexed, drops


class _Split:
    """What was found in all sources of a split so far."""

    def __init__(self) -> None:
        self.drops = Drops()
        self.files: dict[str, int] = {}
        """Tars and audio files by the number that rows know them by."""
        self._seen = SeenHashes()

    def placed(
        self, results: Iterable[tuple[list[Indexed], Drops]], about: BinaryIO, update: Callable[[int], object]
    ) -> Iterator[tuple[int, Placed]]:
        """Write a line to `about` for every utterance, and yield its row. A key that comes again is dropped."""
        end = 0
        for indexed, drops in results:
            self.drops.merge(drops)
            update(drops.read)
            hashes = np.array([key_hash(one.utterance.key) for one in indexed], dtype=np.uint64)
            for one, is_new in zip(indexed, self._seen.add(hashes).tolist(), strict=True):
                if not is_new:
                    self.drops.used -= 1
                    self.drops.add("duplicate key", one.name, defect=True)
                    continue
                line = _line(one)
                about.write(line)
                file = self.files.setdefault(one.audio.path, len(self.files))
                yield file, Placed(one.utterance, one.audio.offset, one.audio.size, end, len(line))
                end += len(line)


def _line(one: Indexed) -> bytes:
    clip = {} if one.clip == WHOLE else {CLIP_FIELD: one.clip.to_json()}
    return json.dumps({**one.utterance.to_json(), **clip}, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def _results(
    sources: Sequence[SourceConfig], labels_dir: Path, wanted: Wanted, num_procs: int
) -> Iterator[tuple[list[Indexed], Drops]]:
    jobs = _jobs(sources, labels_dir, wanted)
    return map(read_part, jobs) if num_procs == 1 else map_fresh(read_part, jobs, num_procs)


def _jobs(sources: Sequence[SourceConfig], labels_dir: Path, wanted: Wanted) -> Iterator[Job]:
    for source in sources:
        labels = LabelMap.load(labels_dir, source.corpus)
        ours = wanted if source.tasks is None else replace(wanted, tasks=source.tasks)
        judge = Judge(source.corpus, source.language, labels, ours)
        parts, _ = FORMATS[source.format]
        for part in parts(source.path):
            yield Job(source, part, judge)
