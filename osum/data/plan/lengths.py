"""Token lengths of every (row, task), made once before training: the plan packs by them and reads no tar."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from osum import log
from osum.audio.speed import sped_length
from osum.data.examples import Prompts, TargetTask, at_speed, prompts_for
from osum.data.processes import map_fresh
from osum.data.store.index import Index
from osum.lock import taking_turns
from osum.outputs import move_durably, needing_space
from osum.text.template import Template
from osum.types import Utterance

NUM_PROBES = 128
"""Rows whose targets and tokens identify tasks and tokenizer in the name of the cached table."""

CHUNK_ROWS = 65_536
"""Rows that are looked at together: what they need fits in a processor's cache."""

MADE_ROWS = 16_384
"""Rows whose targets one process tokenises: some seconds of work."""

logger = log.get(__name__)


@dataclass(frozen=True)
class Lengths:
    """Decoder positions of every (row, task, prompt). R rows, K tasks, G languages, P prompts at most."""

    tasks: tuple[str, ...]
    target_lens: np.ndarray
    """(R, K) int32 tokens of the target without the end token; -1 where the row can't serve the task."""
    prefix_lens: np.ndarray
    """(K, G, P) int32 positions before the target, speech not counted."""
    num_prompts: np.ndarray
    """(K, G) int32."""
    rows: np.ndarray
    """(R,) rows of the index."""
    num_speech: Callable[[np.ndarray], np.ndarray]
    """(n,) samples -> (n,) speech embeddings among the positions."""
    cache: Path | None = None
    """The file of `target_lens`, whose name says what it holds; None if it is not kept."""
    speeds: tuple[float, ...] = ()
    """Speeds that can be asked for."""
    any_speed: frozenset[str] = frozenset()
    """Tasks that may be drawn at another speed."""
    sped_columns: Mapping[tuple[str, float], int] = field(default_factory=dict)
    """(task with word times, speed) -> column of `sped_lens`: times need more or fewer tokens there."""
    sped_lens: np.ndarray | None = None
    """(R, number of `sped_columns`) int32, as `target_lens`; None if there are none."""

    def positions(self, rows: np.ndarray, tasks: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """(n,) row, task and prompt numbers -> (n,) int64 decoder positions."""
        prefix = self.prefix_lens[tasks, self.rows["language"][rows], prompts].astype(np.int64)
        samples = self.rows["num_samples"][rows].astype(np.int64)
        return prefix + self.num_speech(samples) + self.target_lens[rows, tasks]

    def part(self, parts: Sequence[tuple[int, int]]) -> Lengths:
        """Return those of some ranges (first row, row after the last), one after the other, read into memory."""
        rows, target_lens = (_read(of, parts) for of in (self.rows, self.target_lens))
        sped_lens = None if self.sped_lens is None else _read(self.sped_lens, parts)
        return replace(self, rows=rows, target_lens=target_lens, sped_lens=sped_lens)

    def at_speed(self, speed: float) -> Lengths:
        """Return what all of it takes at another speed, `sped_lens` not included: of parts, since it is copied."""
        assert speed in self.speeds, (speed, self.speeds)
        rows, target_lens = self.rows.copy(), self.target_lens.copy()
        rows["num_samples"] = sped_length(num_samples(rows), speed)
        for k, task in enumerate(self.tasks):
            if (task, speed) in self.sped_columns:
                target_lens[:, k] = self.sped_lens[:, self.sped_columns[task, speed]]
        return replace(self, rows=rows, target_lens=target_lens, sped_lens=None)

    def chunks(self, rows: range) -> Iterator[tuple[int, Lengths]]:
        """Yield some rows as parts of CHUNK_ROWS, each with the number of its first row."""
        for start in range(rows.start, rows.stop, CHUNK_ROWS):
            end = min(start + CHUNK_ROWS, rows.stop)
            read, target_lens = (_read_once(of, start, end) for of in (self.rows, self.target_lens))
            sped_lens = None if self.sped_lens is None else _read_once(self.sped_lens, start, end)
            yield start, replace(self, rows=read, target_lens=target_lens, sped_lens=sped_lens)

    def longest_prefix(self) -> np.ndarray:
        """(K, G) int32: positions of the longest prefix, whichever prompt is drawn."""
        return self.prefix_lens.max(axis=2)


def _read(array: np.ndarray, parts: Sequence[tuple[int, int]]) -> np.ndarray:
    """Copy ranges of an array; what the kernel mapped of its file for that, and around it, stays resident no longer."""
    found = np.concatenate([array[a:b] for a, b in parts])
    if isinstance(array.base, mmap.mmap) and not array.flags.writeable:
        array.base.madvise(mmap.MADV_DONTNEED)
    return found


def _read_once(array: np.ndarray, start: int, end: int) -> np.ndarray:
    """Copy a range of an array; from its file, as mapping pages for one look takes longer than reading them."""
    if not (isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)):
        return array[start:end].copy()
    size = array[0].nbytes
    found = np.fromfile(array.filename, np.uint8, count=(end - start) * size, offset=array.offset + start * size)
    return found.view(array.dtype).reshape(end - start, *array.shape[1:])


def num_samples(rows: np.ndarray) -> np.ndarray:
    """(n,) rows of an index -> (n,) int64 samples of their audio."""
    return rows["num_samples"].astype(np.int64)


def build(
    index: Index,
    tasks: Mapping[str, TargetTask],
    prompts: Prompts,
    template: Template,
    cache_dir: Path | None = None,
    num_procs: int = 1,
    speeds: Sequence[float] = (),
) -> Lengths:
    """Return the table, from `cache_dir` when it is there; a folder that can't be written only costs the time again.

    Of several ranks that ask for it one makes it, with so many processes, and the others wait. `speeds` are those that
    the plan may draw.
    """
    languages = index.header.languages
    per_pair = [[prompts_for(prompts, task, lang) for lang in languages] for task in tasks]
    num_prompts = np.array([[len(p) for p in of_task] for of_task in per_pair], dtype=np.int32)
    prefix_lens = np.zeros((len(tasks), len(languages), int(num_prompts.max())), dtype=np.int32)
    for t, task in enumerate(tasks):
        for g, sentences in enumerate(per_pair[t]):
            prefix_lens[t, g, : len(sentences)] = [template.prefix_len(task, s) for s in sentences]

    def made(of: Mapping[str, TargetTask]) -> tuple[Path | None, np.ndarray]:
        path = cache_dir / f"lengths.{_identity(index, of, template)}.npy" if cache_dir else None
        return path, _target_lens(partial(_lengths_of, index, of, template), len(index), path, num_procs)

    path, target_lens = made(tasks)
    timed = [(name, task) for name, task in tasks.items() if task.timed]
    sped = {(name, speed): _AtSpeed(task, speed) for name, task in timed for speed in speeds if speed != 1.0}
    named = {f"{name}@{speed}": task for (name, speed), task in sped.items()}
    return Lengths(
        tasks=tuple(tasks),
        target_lens=target_lens,
        prefix_lens=prefix_lens,
        num_prompts=num_prompts,
        rows=index.rows,
        num_speech=template.num_speech,
        cache=path,
        speeds=tuple(speeds),
        any_speed=frozenset(name for name, task in tasks.items() if task.any_speed),
        sped_columns={pair: column for column, pair in enumerate(sped)},
        sped_lens=made(named)[1] if sped else None,
    )


@dataclass(frozen=True)
class _AtSpeed:
    """A task whose target is that of the utterance at another speed."""

    task: TargetTask
    speed: float
    any_speed: bool = True
    timed: bool = True

    def target(self, utterance: Utterance) -> str | None:
        return self.task.target(at_speed(utterance, self.speed))


def _target_lens(make: Callable[[range], np.ndarray], num_rows: int, path: Path | None, num_procs: int) -> np.ndarray:
    """Map the table, making it first if it is not there. Without a file it is kept in memory."""
    chunks = _chunks(make, num_rows, num_procs)
    if path is None or not (path.is_file() or _writable(path.parent)):
        return np.concatenate(list(chunks))
    if not path.is_file():
        with taking_turns(path):
            # Listed, and not asked for again: a network file system remembers that it was not there.
            if path.name not in os.listdir(path.parent):
                _write(path, chunks, num_rows)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        logger.warning("lengths cache=%s can't be made (%s): they are counted again next time", folder, err)
        return False
    if not os.access(folder, os.W_OK):
        logger.warning("lengths cache=%s can't be written: they are counted again next time", folder)
        return False
    return True


def _write(path: Path, chunks: Iterator[np.ndarray], num_rows: int) -> None:
    """Write the chunks as one array, whole or not at all: never more of them in memory than are being made."""
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with needing_space(path), open(beside, "wb") as f:
            for n, chunk in enumerate(chunks):
                if n == 0:
                    shape = (num_rows, chunk.shape[1])
                    header = {"descr": chunk.dtype.str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(f, header)
                f.write(chunk.tobytes())
            f.flush()
            os.fsync(f.fileno())
        move_durably(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _chunks(make: Callable[[range], np.ndarray], num_rows: int, num_procs: int) -> Iterator[np.ndarray]:
    """Yield the rows of the table, MADE_ROWS at a time."""
    ranges = [range(start, min(start + MADE_ROWS, num_rows)) for start in range(0, num_rows, MADE_ROWS)]
    found = map_fresh(make, ranges, num_procs) if min(num_procs, len(ranges)) > 1 else map(make, ranges)
    with log.progress(total=num_rows, desc="lengths", unit="utt") as bar:
        for chunk in found:
            yield chunk
            bar.update(len(chunk))


def _lengths_of(index: Index, tasks: Mapping[str, TargetTask], template: Template, rows: range) -> np.ndarray:
    """Return the (n, K) int32 lengths of n rows."""
    return np.array([[_length(ids) for ids in _row_targets(index, r, tasks, template)] for r in rows], dtype=np.int32)


def _row_targets(index: Index, row: int, tasks: Mapping[str, TargetTask], template: Template) -> list[list[int] | None]:
    """Token ids per task, None where the row can't serve it (or is damaged: the loader drops and counts it)."""
    try:
        utterance = index.utterance(row)
    except ValueError as err:
        logger.warning("data skip utterance=%s reason=%s", index.key(row), err)
        return [None] * len(tasks)
    found: list[list[int] | None] = []
    for name, task in tasks.items():
        # What stage 1 judged (a task that the header names) holds; combined and tag-only tasks need only a target.
        served = name in utterance.tasks or name not in index.header.tasks
        target = task.target(utterance) if served else None
        found.append(None if target is None else template.target_ids(target))
    return found


def _length(ids: list[int] | None) -> int:
    return -1 if ids is None else len(ids)


def _identity(index: Index, tasks: Mapping[str, TargetTask], template: Template) -> str:
    probes = np.unique(np.linspace(0, len(index) - 1, NUM_PROBES).astype(int))
    seen = [_row_targets(index, int(row), tasks, template) for row in probes]
    text = json.dumps([index.header.fingerprint, list(tasks), seen])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
