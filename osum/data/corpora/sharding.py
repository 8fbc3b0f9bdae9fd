"""From cuts to shards: decode, resample to 16 kHz mono, write tars in parallel, index them. Needs Lhotse.

What a killed run has finished is kept: a tar that was made from the same cuts is checked and not written again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lhotse.audio import AudioLoadingError, DurationMismatchError
from lhotse.cut import Cut

from osum import log
from osum.audio import io
from osum.audio.frames import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from osum.audio.io import AudioFormat
from osum.data.corpora.cut_table import CutTable
from osum.data.corpora.cuts import utterance
from osum.data.corpora.shard_records import RECORDS_NAME, Records, ShardRecord
from osum.data.drops import Drops
from osum.data.processes import map_fresh
from osum.data.store import index_writer
from osum.data.store.index import Index, fingerprint
from osum.data.store.shards import (
    LIST_NAME,
    Placed,
    ShardWriter,
    Written,
    forget_cached,
    read_placed,
    shard_name,
    verify,
)
from osum.outputs import atomic_write, move_durably, sync_folder

LOAD_ERRORS = (AudioLoadingError, DurationMismatchError, OSError, ValueError, RuntimeError, EOFError)
"""What Lhotse and the decoders below it raise for a file that can't be read as its manifest says."""
WRITER_VERSION = 1
"""Tars that another version has begun are not gone on with."""

logger = log.get(__name__)


@dataclass(frozen=True)
class ShardJob:
    """One tar to write."""

    path: Path
    table: CutTable
    numbers: np.ndarray
    """(n,) int64 numbers of the cuts."""
    audio_format: AudioFormat
    record: ShardRecord | None
    """Of the tar that an earlier run has left there."""


@dataclass(frozen=True)
class Made:
    """One tar that is on disk as it should be."""

    record: ShardRecord
    placed: list[Placed]
    drops: Drops


def write_split(
    table: CutTable, folder: Path, listed_as: Path, ends: np.ndarray, audio_format: AudioFormat, num_procs: int
) -> Drops:
    """Write all cuts of a split to `folder`: tars, the list and the records of them, their index. Return the ledger.

    `ends` is (S,) as of `shard_ends`. The list names the tars as lying in `listed_as`. The output depends neither on
    `num_procs` nor on what of it was there before.
    """
    drops, names = Drops(), [shard_name(number) for number in range(len(ends))]
    with Records(folder, names) as done:
        jobs = _jobs(table, folder, ends, audio_format, range(len(ends)), done)

        def placed() -> Iterator[tuple[int, Placed]]:
            for number, made in enumerate(_made(jobs, num_procs, done)):
                drops.merge(made.drops)
                yield from ((number, place) for place in made.placed)

        index_writer.write(folder, names, placed())
        records = done.finish()
    if not drops.used:
        raise ValueError(f"split {folder.name}: {drops.none_used()}")
    atomic_write(folder / LIST_NAME, "".join(f"{listed_as / name}\n" for name in names))
    table.copy.unlink()
    sync_folder(folder)
    check_split(folder, records)
    return drops


def write_part(
    table: CutTable, folder: Path, ends: np.ndarray, audio_format: AudioFormat, num_procs: int, numbers: Sequence[int]
) -> Drops:
    """Write some of the tars that `write_split` would write, and their records. Return the ledger."""
    drops = Drops()
    with Records(folder, [shard_name(number) for number in numbers]) as done:
        for made in _made(_jobs(table, folder, ends, audio_format, numbers, done), num_procs, done):
            drops.merge(made.drops)
        done.finish()
    table.copy.unlink()
    return drops


def _jobs(
    table: CutTable, folder: Path, ends: np.ndarray, audio_format: AudioFormat, numbers: Sequence[int], done: Records
) -> list[ShardJob]:
    """Return what there is to do for these tars, and take from the folder of the split what belongs to no tar."""
    cuts, names = np.split(shuffled(table), ends[:-1]), [shard_name(number) for number in numbers]
    _sweep(folder, {RECORDS_NAME, table.copy.name, *names})
    return [
        ShardJob(folder / name, table, cuts[number], audio_format, done.known.get(name))
        for number, name in zip(numbers, names, strict=True)
    ]


def _made(jobs: list[ShardJob], num_procs: int, done: Records) -> Iterator[Made]:
    """Yield the tars one after the other, each as soon as it is there and noted."""
    if not jobs:
        return
    total = sum(len(job.numbers) for job in jobs)
    with log.progress(total=total, desc=f"shard {jobs[0].path.parent.name}", unit="utt") as bar:
        for made in _run(jobs, num_procs):
            done.add(made.record)
            bar.update(made.drops.read)
            yield made


def shuffled(table: CutTable) -> np.ndarray:
    """(N,) int64 cuts by their place: corpora one after another, each shuffled by key."""
    return np.lexsort((table.key_hashes, table.corpora))


def shard_ends(num_samples: np.ndarray, shard_size: int, num_shards: int | None) -> np.ndarray:
    """(N,) samples of utterances in their order -> (S,) where each shard ends among them.

    There is a shard for every `shard_size` utterances, or `num_shards`, none empty. Each is cut where it comes nearest
    to an equal share of the audio, and so differs from the mean by no more than the longest utterance, unless that is
    longer than a shard.
    """
    total = len(num_samples)
    count = min(num_shards or -(-total // shard_size), total)
    sums, places = np.cumsum(num_samples, dtype=np.int64), np.arange(1, count + 1)
    wanted = sums[-1] * (places / count)
    after = np.minimum(np.searchsorted(sums, wanted), total - 1)
    before_is_nearer = wanted - (sums[after] - num_samples[after]) < sums[after] - wanted
    ends = np.where(before_is_nearer, after, after + 1)
    ends[-1] = total
    ends = np.maximum.accumulate(np.maximum(ends, 1) - places) + places
    return np.minimum(ends, total - count + places)


def make_shard(job: ShardJob) -> Made:
    """Return the tar of a job: one that is there and as it should be, or a new one.

    Bad audio is dropped and counted. ValueError naming the tar if the disk does not hold what was written.
    """
    lines = job.table.lines(job.numbers)
    made_from = _made_from(lines, job.audio_format)
    if job.record is not None and job.record.made_from == made_from:
        try:
            return _kept(job.path, job.record)
        except (ValueError, OSError) as err:
            logger.warning("shard is written again: %s", err)
    partial = job.path.with_name(f"{job.path.name}.{os.getpid()}.tmp")
    cuts = (job.table.cut(int(number), line) for number, line in zip(job.numbers, lines, strict=True))
    meant, written, drops = write_tar(partial, cuts, job.audio_format)
    verify(partial, written.num_bytes, written.sha256, written.members)
    placed = read_placed(partial)
    if placed != meant:
        raise ValueError(f"{partial}: its members are not where they were meant to be; write the shard again")
    move_durably(partial, job.path)
    audio_s = round(sum(place.utterance.num_samples for place in placed) / SAMPLE_RATE_HZ, 3)
    about = (len(placed), audio_s, written.num_bytes, written.sha256)
    return Made(ShardRecord(job.path.name, *about, made_from, drops.to_json()), placed, drops)


def write_tar(path: Path, cuts: Iterator[Cut], audio_format: AudioFormat) -> tuple[list[Placed], Written, Drops]:
    """Write one tar and return what should be in it, and what was used and dropped."""
    placed, drops = [], Drops()
    with ShardWriter(path, audio_format) as writer:
        for cut in cuts:
            about = utterance(cut)
            drops.read += 1
            try:
                audio = load_audio(cut)
            except LOAD_ERRORS as err:
                logger.warning("audio unreadable utterance=%s error=%s", about.key, " ".join(str(err).split())[:300])
                drops.add("unreadable_audio", about.key, defect=True)
                continue
            if len(audio) < WINDOW_SAMPLES:
                drops.add("too_short", about.key)
                continue
            about = replace(about, num_samples=len(audio))
            placed.append(writer.add(about, io.encode(audio, audio_format)))
            drops.used += 1
    return placed, writer.written, drops


def load_audio(cut: Cut) -> np.ndarray:
    """Return (num_samples,) float32 at 16 kHz; channels left in the cut are averaged. Raises LOAD_ERRORS."""
    if cut.sampling_rate != SAMPLE_RATE_HZ:
        cut = cut.resample(SAMPLE_RATE_HZ)
    audio = cut.load_audio()
    return io.check(audio[0] if audio.shape[0] == 1 else audio.mean(axis=0), cut.id)


def check_split(folder: Path, records: Sequence[ShardRecord]) -> None:
    """Compare what lies in the folder of a split with its records. ValueError naming the file that differs."""
    for name in ("index.npy", "index_keys.npy"):
        forget_cached(folder / name)
    index = Index.open(folder)
    if fingerprint(index.rows, np.load(folder / "index_keys.npy", mmap_mode="r")) != index.header.fingerprint:
        raise ValueError(f"{folder / 'index.npy'}: does not hold what was written to it; run the shard stage again")
    counts = np.bincount(index.rows["shard"], minlength=len(records)).tolist()
    for record, count in zip(records, counts, strict=True):
        size = (folder / record.name).stat().st_size
        if (size, count) != (record.num_bytes, record.num_utterances):
            found, meant = f"{size} bytes, {count} in the index", f"{record.num_bytes}, {record.num_utterances}"
            raise ValueError(f"{folder / record.name}: {found}, not {meant}; run the shard stage again")


def _kept(path: Path, record: ShardRecord) -> Made:
    verify(path, record.num_bytes, record.sha256)
    placed = read_placed(path)
    if len(placed) != record.num_utterances:
        raise ValueError(f"{path}: {len(placed)} utterances, not {record.num_utterances}")
    return Made(record, placed, Drops.from_json(record.drops))


def _made_from(lines: Sequence[bytes], audio_format: AudioFormat) -> str:
    digest = hashlib.blake2b(f"{WRITER_VERSION} {audio_format}\n".encode(), digest_size=12)
    for line in lines:
        digest.update(line)
    return digest.hexdigest()


def _sweep(folder: Path, kept: set[str]) -> None:
    """Delete what a run that was killed, or had other settings, has left in the folder of a split."""
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)  # a worker of a killed run may still be at work


def _run(jobs: list[ShardJob], num_procs: int) -> Iterator[Made]:
    return map(make_shard, jobs) if num_procs == 1 else map_fresh(_make_beside_others, jobs, num_procs)


def _make_beside_others(job: ShardJob) -> Made:
    torch.set_num_threads(1)  # several threads in each of several processes spin against each other
    return make_shard(job)
