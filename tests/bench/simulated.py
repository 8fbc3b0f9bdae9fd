"""Index and lengths of a corpus that does not exist: as many rows as asked, in the files that a real one has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osum.audio.frames import SAMPLE_RATE_HZ, num_speech_embeddings
from osum.data.plan.lengths import Lengths
from osum.data.store.index import ROW, Header, Index
from osum.rng import rng_for

ROWS_PER_SHARD = 1000
CHUNK_SHARDS = 500
TASKS = ("asr", "srwt", "ved", "ser", "ssr", "sgc", "sap", "sttc")
LANGUAGES = ("en", "zh")
PROMPT_TOKENS = (6, 9, 12, 14, 19)
"""Positions before the speech, of each prompt of every task."""
INDEX_NAME, LENGTHS_NAME = "index.npy", "lengths.simulated.npy"


@dataclass(frozen=True)
class Corpus:
    """Share of the rows, median duration, language and served tasks of one of the corpora that are mixed."""

    share: float
    median_s: float
    language: int
    tasks: tuple[str, ...]


CORPORA = {
    "read": Corpus(0.35, 3.1, 0, ("asr", "srwt", "sgc")),
    "meetings": Corpus(0.25, 1.75, 1, ("asr", "srwt", "sgc", "sap")),
    "talks": Corpus(0.15, 5.2, 0, ("asr", "srwt")),
    "emotions": Corpus(0.15, 2.25, 1, ("asr", "ser", "sgc", "sap", "ssr")),
    "events": Corpus(0.05, 3.5, 0, ("asr", "ved")),
    "dialogues": Corpus(0.05, 2.1, 1, ("asr", "sttc", "ser", "sgc")),
}
"""Together 3.6 s on average."""


def write(folder: Path, num_rows: int) -> None:
    """Write the files of a corpus of so many rows, unless they are there."""
    if (folder / LENGTHS_NAME).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.lib.format.open_memmap(folder / INDEX_NAME, "w+", ROW, (num_rows,))
    partial = folder / f"partial.{LENGTHS_NAME}"
    lens = np.lib.format.open_memmap(partial, "w+", np.int32, (num_rows, len(TASKS)))
    step = CHUNK_SHARDS * ROWS_PER_SHARD
    for start in range(0, num_rows, step):
        _fill(rows[start : start + step], lens[start : start + step], start, num_rows)
    rows.flush()
    lens.flush()
    os.replace(partial, folder / LENGTHS_NAME)


def _fill(rows: np.ndarray, lens: np.ndarray, start: int, num_rows: int) -> None:
    rng = rng_for("simulated", start)
    count = len(rows)
    at = np.arange(start, start + count) // ROWS_PER_SHARD
    edges = np.cumsum([c.share for c in CORPORA.values()])[:-1]
    corpus = np.searchsorted(edges, at * ROWS_PER_SHARD / num_rows, side="right")
    medians = np.array([c.median_s for c in CORPORA.values()])[corpus]
    duration_s = np.clip(medians * rng.lognormal(0.0, 0.6, count), 0.4, 30.0)
    rows["key_hash"] = rng.integers(0, 2**64, count, dtype=np.uint64)
    rows["shard"], rows["corpus"] = at, corpus
    rows["language"] = np.array([c.language for c in CORPORA.values()])[corpus]
    rows["num_samples"] = duration_s * SAMPLE_RATE_HZ
    served = np.array([[t in c.tasks for t in TASKS] for c in CORPORA.values()])
    words = np.maximum(1, duration_s * rng.normal(2.8, 0.5, count))
    for task, name in enumerate(TASKS):
        # Words and tags; times around each word for srwt. A tenth of the rows lacks each label but the transcript.
        tokens = words * (5.5 if name == "srwt" else 1.4) + (0 if name in ("asr", "srwt") else 4)
        labelled = served[corpus, task] & ((rng.random(count) > 0.1) if name != "asr" else True)
        lens[:, task] = np.where(labelled, tokens, -1)


def open_corpus(folder: Path) -> tuple[Index, Lengths]:
    """Map the files; keys are left out, as the plan does not read them."""
    rows, lens = (np.load(folder / name, mmap_mode="r") for name in (INDEX_NAME, LENGTHS_NAME))
    shards = [f"{n}.tar" for n in range(-(-len(rows) // ROWS_PER_SHARD))]
    header = Header(shards, list(TASKS), list(CORPORA), list(LANGUAGES), "simulated")
    none = np.zeros(0, dtype=np.uint8)
    prefixes = np.broadcast_to(np.array(PROMPT_TOKENS, dtype=np.int32) + 2, (len(TASKS), len(LANGUAGES), 5))
    num_prompts = np.full((len(TASKS), len(LANGUAGES)), len(PROMPT_TOKENS), dtype=np.int32)
    table = Lengths(TASKS, lens, prefixes, num_prompts, rows, num_speech_embeddings, folder / LENGTHS_NAME)
    return Index(folder, header, rows, none, none), table


def forget(folder: Path) -> None:
    """Drop the files from the page cache: what reads them next reads the disk."""
    for path in folder.iterdir():
        with open(path, "rb") as f:
            os.fsync(f.fileno())
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
