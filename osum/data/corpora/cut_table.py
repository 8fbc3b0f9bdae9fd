"""The cuts of a split for planning: some numbers of each in memory, and a plain copy of the manifest to read them from.

A manifest is gzipped and read from its beginning only; shards take their cuts in another order.
"""

from __future__ import annotations

import gzip
import json
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item

from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.store.index import key_hash
from osum.data.store.shards import check_key

REMEDY = "run the annotate stage again"


@dataclass(frozen=True)
class CutTable:
    """N cuts, 26 bytes each."""

    manifest: Path
    """Where they come from, for messages: cut n is its line n + 1."""
    copy: Path
    """The same lines, not compressed."""
    offsets: np.ndarray
    """(N,) uint64: where each line of the copy begins, bytes."""
    sizes: np.ndarray
    """(N,) uint32 bytes of each line."""
    key_hashes: np.ndarray
    """(N,) uint64."""
    num_samples: np.ndarray
    """(N,) uint32 at 16 kHz, by the manifest."""
    corpora: np.ndarray
    """(N,) uint16: numbers of the corpora in alphabetical order."""

    def __len__(self) -> int:
        return len(self.offsets)

    def lines(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read some lines from the copy, in the order asked for."""
        found = []
        with open(self.copy, "rb") as f:
            for n in numbers:
                f.seek(int(self.offsets[n]))
                found.append(f.read(int(self.sizes[n])))
        return found

    def cut(self, number: int, line: bytes) -> Cut:
        """Return the cut of a line. ValueError naming file and line if it is not one."""
        try:
            return deserialize_item(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise _not_a_cut(self.manifest, number + 1, err) from err


def read_table(manifest: Path, copy: Path) -> CutTable:
    """Read a cut manifest (JSON lines, gzip) once and copy it. ValueError naming file and line of what is not a cut.

    ValueError too for a key that can't name a member of a shard.
    """
    columns = offsets, sizes, hashes, samples, numbers = tuple(array(code) for code in "QIQIH")
    names: dict[str, int] = {}
    end = 0
    with open(copy, "wb") as out:
        for n, line in enumerate(_gunzipped(manifest), start=1):
            try:
                key, duration_s, corpus = _parts(json.loads(line))
                samples.append(round(duration_s * SAMPLE_RATE_HZ))
                numbers.append(names.setdefault(corpus, len(names)))
                hashes.append(key_hash(key))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as err:
                raise _not_a_cut(manifest, n, err) from err
            check_key(key)
            offsets.append(end)
            sizes.append(len(line))
            end += out.write(line)
    tables = [np.frombuffer(column, dtype=f"u{column.itemsize}") for column in columns]
    rank = {name: r for r, name in enumerate(sorted(names))}
    ranks = np.array([rank[name] for name in names], dtype=np.uint16)
    return CutTable(manifest, copy, *tables[:4], ranks[tables[4]] if names else tables[4])


def _parts(obj: dict[str, Any]) -> tuple[str, float, str]:
    key, corpus = obj["id"], obj["custom"]["corpus"]
    if not isinstance(key, str) or not isinstance(corpus, str):
        raise TypeError("id and corpus must be text")
    return key, float(obj["duration"]), corpus


def _gunzipped(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as f:
            yield from f
    except (gzip.BadGzipFile, EOFError, zlib.error) as err:
        raise ValueError(f"{path}: damaged ({err}); {REMEDY}") from err


def _not_a_cut(path: Path, line: int, err: Exception) -> ValueError:
    return ValueError(f"{path}:{line}: not a cut ({err}); {REMEDY}")
