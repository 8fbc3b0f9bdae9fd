"""Random access to the utterances of a split: fixed-size rows beside the tars, memory-mapped, no tar is scanned.

Files in the folder of a split: ``index.npy`` (rows), ``index_keys.npy`` (bytes of all keys), ``index_ends.npy`` (where
each key ends), ``index.json`` (header: shards relative to the folder, names of tasks, corpora, languages, labels). An
index of foreign data also has ``utterances.jsonl``: what is known of each row, and which part of its audio file it is.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from osum.audio import io as audio_io
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.store.clips import WHOLE, Clip
from osum.data.store.storage import RangeFile, Storage, is_remote, place
from osum.outputs import atomic_write
from osum.types import Utterance

ROW = np.dtype(
    [
        ("key_hash", "<u8"),
        ("audio_offset", "<u8"),
        ("json_offset", "<u8"),
        ("tasks", "<u8"),
        ("speaker", "<u8"),
        ("shard", "<u4"),
        ("audio_size", "<u4"),
        ("json_size", "<u4"),
        ("num_samples", "<u4"),
        ("labels", "<u4"),
        ("corpus", "<u2"),
        ("language", "<u2"),
    ]
)
"""64 bytes an utterance; bit t of `tasks` stands for the t-th task of the header, `labels` is the number of one of its
label sets, `speaker` a `speaker_hash`."""
UTTERANCES_NAME = "utterances.jsonl"
CLIP_FIELD = "clip"
"""Field of a line of `utterances.jsonl` beside those of an utterance, if it is part of its file: a `Clip`."""
MAX_RATE_RATIO = audio_io.MAX_RATE_HZ // SAMPLE_RATE_HZ
"""A row of n samples at 16 kHz may come from so many times n at the rate of its file."""
COUNTED_ROWS = 1_000_000
"""Rows that are counted together, which bounds the memory for it."""
MAX_CHECKED_ROWS = 1_000_000
"""So many rows are compared with their hash when an index is opened; more would take seconds."""
VERSION = 2
ROWS_OF = {1: np.dtype([(name, ROW[name]) for name in ROW.names if name not in ("speaker", "labels")]), VERSION: ROW}
"""Rows by the version of their index; the first one had neither labels nor speakers."""
FREE_TEXT = frozenset({"answer"})
"""Fields of `Utterance.labels` that are no label: rows leave them out."""


class MissingError(ValueError):
    """A file of one utterance, or of one recording, that is no longer there."""


@dataclass(frozen=True)
class Header:
    """What all rows share."""

    shards: list[str]
    """Tars, or single audio files: paths relative to the folder of the index, or addresses."""
    tasks: list[str]
    corpora: list[str]
    languages: list[str]
    fingerprint: str
    """Hash of rows and keys."""
    version: int = VERSION
    utterances: str | None = None
    """File in the folder that holds what is known of each row; None: members of the tars do."""
    label_sets: list[dict[str, str]] = field(default_factory=list)
    """The combinations of labels, field -> label, by the number that rows have for them."""


class Index:
    """The utterances of one split, by row."""

    def __init__(self, folder: Path, header: Header, rows: np.ndarray, keys: np.ndarray, ends: np.ndarray) -> None:
        self.folder, self.header, self.rows = folder, header, rows
        self._keys, self._ends = keys, ends
        self._storage = Storage()
        self._paths: dict[int, str] = {}

    @classmethod
    def open(cls, folder: Path | str) -> Index:
        """Map the index of a split. ValueError or FileNotFoundError naming the file and the remedy."""
        folder = Path(folder)
        if not (folder / "index.json").is_file():
            raise FileNotFoundError(f"{folder / 'index.json'}: not found; run the shard stage first")
        header = _header(folder / "index.json")
        rows, keys, ends = (_map(folder / name) for name in ("index.npy", "index_keys.npy", "index_ends.npy"))
        shapes_fit = rows.ndim == keys.ndim == ends.ndim == 1 and len(rows) == len(ends)
        if rows.dtype != ROWS_OF[header.version] or keys.dtype != np.uint8 or ends.dtype != np.uint64 or not shapes_fit:
            raise ValueError(f"{folder / 'index.npy'}: rows and keys do not fit together; make the index again")
        if len(rows) <= MAX_CHECKED_ROWS and fingerprint(rows, keys) != header.fingerprint:
            raise ValueError(f"{folder / 'index.npy'}: rows or keys are damaged; make the index again")
        return cls(folder, header, rows, keys, ends)

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker maps the files itself: pickling a memory map would copy it, and file numbers mean nothing elsewhere.
        return Index.open, (self.folder,)

    @cached_property
    def num_rows_of_corpora(self) -> np.ndarray:
        """(C,) int64 rows of each corpus of the header; all rows are looked at, once."""
        counts = np.zeros(len(self.header.corpora), dtype=np.int64)
        for first in range(0, len(self.rows), COUNTED_ROWS):
            counts += np.bincount(self.rows["corpus"][first : first + COUNTED_ROWS], minlength=len(counts))
        return counts

    def key(self, row: int) -> str:
        """Return the key of a row."""
        start = int(self._ends[row - 1]) if row else 0
        return self._keys[start : int(self._ends[row])].tobytes().decode(errors="replace")

    def find(self, key: str) -> int:
        """Return the row of a key. ValueError if there is none."""
        for row in np.flatnonzero(self.rows["key_hash"] == key_hash(key)):
            if self.key(int(row)) == key:
                return int(row)
        raise ValueError(f"{self.folder}: no utterance {key!r} among {len(self)}; is the key right, and the split?")

    def keys(self) -> list[str]:
        """Return all keys in row order."""
        return [self.key(row) for row in range(len(self))]

    def language(self, row: int) -> str:
        """Return the language code of a row."""
        return self.header.languages[int(self.rows[row]["language"])]

    def corpus(self, row: int) -> str:
        """Return the name of the corpus of a row."""
        return self.header.corpora[int(self.rows[row]["corpus"])]

    def utterance(self, row: int) -> Utterance:
        """Read what is known of a row. ValueError naming shard and key if it is damaged."""
        try:
            utterance = Utterance.from_json(self._about(row))
        except (ValueError, TypeError, AttributeError, RecursionError) as err:
            raise ValueError(f"{self._place(row)}: damaged JSON ({err}); make shard and index again") from err
        if (utterance.key, utterance.num_samples) != (self.key(row), int(self.rows[row]["num_samples"])):
            raise ValueError(
                f"{self._place(row)}: holds {utterance.key!r} with {utterance.num_samples} samples; "
                "the tar is not the one that was indexed"
            )
        return utterance

    def audio(self, row: int) -> np.ndarray:
        """Decode the audio of a row: (num_samples,) float32 at 16 kHz. ValueError naming shard and key if damaged.

        FileNotFoundError naming a tar that is gone; of an audio file that is no part of a tar, MissingError.
        """
        return audio_io.to_float(self.samples(row))

    def samples(self, row: int) -> np.ndarray:
        """Return the audio of a row, int16 where it is stored so: half of what float32 takes. Errors as of `audio`."""
        at, clip = self.rows[row], self._clip(row)
        num_samples = int(at["num_samples"])
        try:
            audio, rate_hz = self._decoded(row, clip, MAX_RATE_RATIO * (num_samples + 1))
        except FileNotFoundError as err:
            if at["audio_offset"] > 0:  # in a tar, a header comes first
                raise self._tar_missing(self._shard(row)) from err
            raise MissingError(f"{self._place(row)}: no longer there; put it back or make the index again") from err
        audio = audio_io.resample(audio, rate_hz)
        if len(audio) != num_samples:
            raise ValueError(f"{self._place(row)}: {len(audio)} samples, not {num_samples}; make shard and index again")
        return audio

    def _decoded(self, row: int, clip: Clip, max_samples: int) -> tuple[np.ndarray, int]:
        """Return the audio at the rate of its file, and the rate in Hz."""
        at, path = self.rows[row], self._shard(row)
        offset, size = int(at["audio_offset"]), int(at["audio_size"])
        whole = clip == WHOLE or is_remote(path)  # of a part of a long file no more than the part is read
        source = self._read(row, path, offset, size) if whole else self._storage.open(path, offset, size)
        mono = "mix" if clip.channel is None else clip.channel
        try:
            return audio_io.load(
                source, clip.start_s, clip.duration_s, mono, self._place(row), max_samples, keep_int16=True
            )
        except ValueError:
            file = None if isinstance(source, bytes) else source.raw
            if isinstance(file, RangeFile) and file.failure is not None:
                raise file.failure from None
            raise

    def _clip(self, row: int) -> Clip:
        """Which part of its file a row is; in our own shards every file is one utterance."""
        if self.header.utterances is None:
            return WHOLE
        try:
            about = self._about(row)
            return Clip.from_json(about[CLIP_FIELD]) if CLIP_FIELD in about else WHOLE
        except (ValueError, TypeError, RecursionError) as err:
            raise ValueError(f"{self._place(row)}: damaged JSON ({err}); make the index again") from err

    def _about(self, row: int) -> dict[str, Any]:
        at = self.rows[row]
        path = self._shard(row) if self.header.utterances is None else str(self.folder / self.header.utterances)
        try:
            text = self._read(row, path, int(at["json_offset"]), int(at["json_size"]))
        except FileNotFoundError as err:
            raise self._tar_missing(path) from err
        obj = json.loads(text)
        if not isinstance(obj, dict):
            raise TypeError("not an object")
        return obj

    def _tar_missing(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(
            f"{path}: not there, though the index in {self.folder} names it; put it back or make shards and index again"
        )

    def _place(self, row: int) -> str:
        return f"{self._shard(row)}: {self.key(row)}"

    def _shard(self, row: int) -> str:
        number = int(self.rows[row]["shard"])
        if number >= len(self.header.shards):
            raise ValueError(f"{self.folder}: {self.key(row)}: no shard {number}; make the index again")
        if number not in self._paths:
            self._paths[number] = place(self.folder, self.header.shards[number])
        return self._paths[number]

    def _read(self, row: int, path: str, offset: int, size: int) -> bytes:
        data = self._storage.read(path, offset, size)
        if len(data) != size:
            raise ValueError(f"{self._place(row)}: {path} ends inside this member; make shard and index again")
        return data


def key_hash(key: str) -> int:
    """Return 64 bits that depend on the key alone: what random choices about an utterance start from."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def speaker_hash(corpus: str, speaker: str | None) -> int:
    """Return 64 bits that stand for a speaker of a corpus; 0 if the speaker is unknown."""
    return 0 if not speaker else key_hash(f"{corpus}\x1f{speaker}") or 1


def fingerprint(rows: np.ndarray, keys: np.ndarray) -> str:
    """Return the hash of rows and keys."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(np.ascontiguousarray(rows).view(np.uint8))
    digest.update(np.ascontiguousarray(keys))
    return digest.hexdigest()


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file, whole or not at all (`np.save` to a full disk would not say that the disk is full)."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    atomic_write(path, buffer.getvalue())


def _header(path: Path) -> Header:
    try:
        obj = json.loads(path.read_text(encoding="utf-8"))
        if obj.get("version") not in ROWS_OF:
            raise ValueError(f"version {obj.get('version')}, not one of {sorted(ROWS_OF)}")
        header = Header(**obj)
        names = (header.shards, header.tasks, header.corpora, header.languages)
        if not all(isinstance(of, list) and all(isinstance(name, str) for name in of) for of in names):
            raise TypeError("names are no text")
        if not all(isinstance(text, str) for labels in header.label_sets for item in labels.items() for text in item):
            raise TypeError("labels are no text")
        if header.utterances not in (None, UTTERANCES_NAME):
            raise ValueError(f"utterances in {header.utterances!r}")
    except (ValueError, TypeError, AttributeError, RecursionError) as err:
        raise ValueError(f"{path}: not the header of an index ({err}); run the shard stage again") from err
    return header


def _map(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, TypeError, SyntaxError, TokenError) as err:  # what numpy raises for a damaged header
        raise ValueError(f"{path}: not a whole array file ({err}); run the shard stage again") from err
