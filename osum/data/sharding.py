"""From cuts to shards: decode, resample to 16 kHz mono, write tars in parallel, index them. Needs Lhotse."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lhotse.audio import AudioLoadingError, DurationMismatchError
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item

from osum import log
from osum.audio import io
from osum.audio.frames import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from osum.audio.io import AudioFormat
from osum.data import index, index_writer
from osum.data.cuts import utterance
from osum.data.drops import Drops
from osum.data.processes import map_fresh
from osum.data.shards import LIST_NAME, Placed, ShardWriter, check_key, shard_name, verify
from osum.outputs import atomic_write
from osum.types import Utterance

LOAD_ERRORS = (AudioLoadingError, DurationMismatchError, OSError, ValueError, RuntimeError, EOFError)
"""What Lhotse and the decoders below it raise for a file that can't be read as its manifest says."""

Entry = tuple[Utterance, Cut]

logger = log.get(__name__)


@dataclass(frozen=True)
class ShardJob:
    """One tar to write."""

    path: Path
    entries: list[Entry]
    audio_format: AudioFormat


def read_cuts(path: Path) -> list[Cut]:
    """Read a cut manifest (JSON lines, gzip). ValueError naming file and line of what is not a cut."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as f:
            return [_cut(line, f"{path}:{n}") for n, line in enumerate(f, start=1)]
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as err:
        raise ValueError(f"{path}: damaged ({err}); run the annotate stage again") from err


def _cut(line: str, place: str) -> Cut:
    try:
        return deserialize_item(json.loads(line))
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{place}: not a cut ({err}); run the annotate stage again") from err


def write_split(
    cuts: list[Cut], folder: Path, listed_as: Path, sizes: list[int], audio_format: AudioFormat, num_procs: int
) -> Drops:
    """Write all cuts of a split to `folder`: tars, the list of them, their index. Return what was used and dropped.

    `sizes` is the number of cuts in each shard. The list names the tars as lying in `listed_as`. The output does not
    depend on `num_procs`.
    """
    folder.mkdir(parents=True)
    entries = _in_order([(utterance(cut), cut) for cut in cuts])
    jobs = list(_jobs(entries, folder, sizes, audio_format))
    drops, placed = Drops(), []
    with log.progress(total=len(cuts), desc=f"shard {folder.name}", unit="utt") as bar:
        for number, (written, dropped) in enumerate(_run(jobs, num_procs)):
            placed += [(number, p) for p in written]
            drops.merge(dropped)
            bar.update(dropped.read)
    if not placed:
        raise ValueError(f"split {folder.name}: {drops.none_used()}")
    names = [job.path.name for job in jobs]
    atomic_write(folder / LIST_NAME, "".join(f"{listed_as / name}\n" for name in names))
    index_writer.write(folder, names, placed)
    return drops


def shard_sizes(num_cuts: int, shard_size: int, num_shards: int | None) -> list[int]:
    """Return how many cuts each shard holds, differing by one at most; `num_shards` overrides `shard_size`."""
    count = min(num_shards or -(-num_cuts // shard_size), num_cuts)
    return [num_cuts * (i + 1) // count - num_cuts * i // count for i in range(count)]


def write_shard(job: ShardJob) -> tuple[list[Placed], Drops]:
    """Write one tar and compare it with what was meant. Bad audio is dropped and counted."""
    placed, drops = [], Drops()
    with ShardWriter(job.path, job.audio_format) as writer:
        for about, cut in job.entries:
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
            placed.append(writer.add(about, io.encode(audio, job.audio_format)))
            drops.used += 1
    verify(job.path, placed)
    return placed, drops


def load_audio(cut: Cut) -> np.ndarray:
    """Return (num_samples,) float32 at 16 kHz; channels left in the cut are averaged. Raises LOAD_ERRORS."""
    if cut.sampling_rate != SAMPLE_RATE_HZ:
        cut = cut.resample(SAMPLE_RATE_HZ)
    audio = cut.load_audio()
    return io.check(audio[0] if audio.shape[0] == 1 else audio.mean(axis=0), cut.id)


def _in_order(entries: list[Entry]) -> list[Entry]:
    """Corpora apart, so that a shard is read for one of them, and within a corpus shuffled by key."""
    return sorted(entries, key=lambda entry: (entry[0].corpus, index.key_hash(check_key(entry[0].key))))


def _jobs(entries: list[Entry], folder: Path, sizes: list[int], audio_format: AudioFormat) -> Iterator[ShardJob]:
    start = 0
    for number, size in enumerate(sizes):
        yield ShardJob(folder / shard_name(number), entries[start : start + size], audio_format)
        start += size


def _run(jobs: list[ShardJob], num_procs: int) -> Iterator[tuple[list[Placed], Drops]]:
    return map(write_shard, jobs) if num_procs == 1 else map_fresh(_write_beside_others, jobs, num_procs)


def _write_beside_others(job: ShardJob) -> tuple[list[Placed], Drops]:
    torch.set_num_threads(1)  # several threads in each of several processes spin against each other
    return write_shard(job)
