r"""Memory and time of the main process of the shard stage, but for its tars: cuts to a plan, then rows to an index.

For example, in some minutes:

    python tests/bench/shard_plan.py --folder FOLDER --num_cuts 1000000

writes a simulated cut manifest of so many cuts, plans their shards, and writes an index of as many utterances. Memory
is what is not mapped from a file, over that of the imports. About 1 KB of files a cut stays in the folder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from osum.data.corpora.cut_table import read_table
from osum.data.corpora.sharding import shard_ends, shuffled
from osum.data.store import index_writer
from osum.data.store.shards import Placed, shard_name
from osum.rng import rng_for
from osum.types import Utterance

SHARD_SIZE = 1000
SAMPLE_S = 0.02
"""Seconds between two looks at the memory."""


def write_manifest(path: Path, num_cuts: int) -> None:
    """Write cuts as the annotate stage does, of 1 to 10 s, all of one corpus; nothing if the file is there."""
    if path.is_file():
        return
    durations = rng_for("cuts").uniform(1.0, 10.0, num_cuts)
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as f:
        f.writelines(json.dumps(_cut(n, round(float(d), 4))) + "\n" for n, d in enumerate(durations))


def _cut(number: int, duration_s: float) -> dict[str, Any]:
    key, text = f"corpus/speaker{number % 9999:05d}/utterance{number:09d}", "the words that somebody has said"
    words = [[word, 0.1 * n, 0.1, None] for n, word in enumerate(text.split())]
    about = {"start": 0.0, "duration": duration_s, "channel": 0, "text": text, "language": "en"}
    recording = {"id": key, "sources": [{"type": "file", "channels": [0], "source": f"/corpora/{key}.flac"}]}
    supervision = {"id": key, "recording_id": key, **about, "alignment": {"word": words}}
    custom = {"corpus": "corpus", "tasks": ["asr", "srwt"]}
    return {"id": key, **about, "supervisions": [supervision], "recording": recording, "custom": custom}


def plan(manifest: Path) -> int:
    """Plan the shards, and return how many there are."""
    table = read_table(manifest, manifest.with_name("cuts.jsonl"))
    return len(shard_ends(table.num_samples[shuffled(table)], SHARD_SIZE, None))


def write_index(folder: Path, num_rows: int) -> int:
    """Write an index, and return how many shards it has."""
    num_shards = -(-num_rows // SHARD_SIZE)

    def placed() -> Iterator[tuple[int, Placed]]:
        for n in range(num_rows):
            labels = {"gender": ("male", "female")[n % 2]}
            utterance = Utterance(f"utterance{n:09d}", "corpus", "en", "hi", 48_000, f"s{n % 9999}", labels=labels)
            yield n // SHARD_SIZE, Placed(utterance, 512, 60_000, 61_440, 300)

    index_writer.write(folder, map(shard_name, range(num_shards)), placed())
    return num_shards


def measured(work: Callable[..., int], *args: Any) -> dict[str, float]:
    """Run some work; return seconds and the largest memory (MB) that it took."""
    before, largest, ended = _not_mapped_mb(), [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE_S):
            largest.append(_not_mapped_mb() - before)

    looking, start = threading.Thread(target=look), time.perf_counter()
    looking.start()
    num_shards = work(*args)
    wall_s = time.perf_counter() - start
    ended.set()
    looking.join()
    return {"shards": num_shards, "wall_s": round(wall_s, 1), "largest_mb": round(max(largest), 1)}


def _not_mapped_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) / 1e3


def main(argv: list[str] | None = None) -> None:
    """Print a line of JSON for the plan and one for the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--num_cuts", type=int, default=1_000_000)
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    manifest = args.folder / f"cuts.{args.num_cuts}.jsonl.gz"
    write_manifest(manifest, args.num_cuts)
    for name, work in {"plan": (plan, manifest), "index": (write_index, args.folder, args.num_cuts)}.items():
        found = measured(*work)
        print(
            json.dumps(
                {
                    "of": name,
                    "cuts": args.num_cuts,
                    **found,
                    "bytes_a_cut": round(found["largest_mb"] * 1e6 / args.num_cuts, 1),
                }
            )
        )


if __name__ == "__main__":
    main()
