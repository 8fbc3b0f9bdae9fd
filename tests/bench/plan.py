"""The plan of a large simulated corpus: start, resume, a whole epoch, memory, and what the packs are like.

    python tests/bench/plan.py --folder FOLDER [--rows 5000000 20000000 50000000] [--ranks 512]
    python tests/bench/plan.py --quick

Each figure comes from a process of its own, on one thread; start of Python and imports are not counted. `survey` reads
the whole corpus, once for a corpus and a configuration, with a process for each core; its processor time is that of
all. `very_first` is the time from opening the index to the first pack of one rank with the survey still to be made, and
`very_first_cold` the same after the files were dropped from the page cache. Everything else finds the survey in its
cache, as it finds the lengths. `first` is the time from opening the index to the first pack of one rank, and to those
of all; `cold` the same after the files were dropped from the page cache; `node` that of 8 processes at once, each a
rank of 8. `resume` draws steps and ranks of epoch 3; that they equal those of the uninterrupted epoch is asserted, as
is that the epoch holds every row once and no pack is over a budget. Imbalance is largest / mean - 1 over the ranks of a
step. The baseline plans the whole epoch before its first step, at the smallest size. Simulated files of 96 bytes a row
stay in the folder.
The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import simulated
from bench import report

NODE_RANKS = 8
QUICK = {"rows": [100_000, 200_000, 400_000], "ranks": 32}


def main() -> None:
    """Measure every size, print what was found."""
    args = _arguments()
    if args.folder:
        _report(args, args.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _report(args, Path(folder))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look within a minute: small corpora, 32 ranks")
    parser.add_argument("--folder", type=Path, help="where simulated corpora are kept; a temporary one if left out")
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000_000, 20_000_000, 50_000_000])
    parser.add_argument("--ranks", type=int, default=512, help="virtual ranks")
    parser.add_argument("--max_baseline_rows", type=int, default=5_000_000, help="larger corpora have no baseline")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.ranks = QUICK["rows"], QUICK["ranks"]
    return args


def _report(args: argparse.Namespace, folder: Path) -> None:
    sizes = {num_rows: measure_size(folder / str(num_rows), num_rows, args) for num_rows in args.rows}
    smallest, largest = min(sizes), max(sizes)
    per_row = {n: found["epoch"]["cpu_s"] / n for n, found in sizes.items()}
    values = {
        "benchmark": "plan",
        "growth": round(per_row[largest] / per_row[smallest], 3),
        "unit": "processor time a row of a whole epoch, largest corpus over smallest",
        "ranks": args.ranks,
        "quick": args.quick,
        "sizes": sizes,
    }
    if "baseline" in sizes[smallest]:
        found = sizes[smallest]
        before_s, survey_s = (found[name]["cpu_s"] for name in ("baseline", "survey"))
        values["ratio"] = round(before_s / found["first"]["all_ranks"]["cpu_s"], 1)
        values["ratio_with_survey"] = round(before_s / (found["first"]["all_ranks"]["cpu_s"] + survey_s), 1)
        values["ratio_unit"] = "processor time to the first step, whole epoch at once over ours"
    report(**values)


def measure_size(folder: Path, num_rows: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return all figures of a corpus of so many rows."""
    simulated.write(folder, num_rows)
    for old in folder.glob("survey.*"):
        old.unlink()
    measures = {
        "survey": lambda: _run("survey", folder, args.ranks),
        "very_first": lambda: _run("very_first", folder, args.ranks),
        "very_first_cold": lambda: _cold("very_first", folder, args.ranks),
        "first": lambda: _run("first", folder, args.ranks, 0, args.ranks),
        "cold": lambda: _cold("first", folder, args.ranks, 0, args.ranks),
        "node": lambda: _node(folder, args.ranks),
        "resume": lambda: _run("resume", folder, args.ranks),
    }
    found = {}
    for name, measure in measures.items():
        found[name] = measure()
        print(f"rows={num_rows} {name}: {json.dumps(found[name])}", flush=True)
    found["epoch"] = _run("epoch", folder, args.ranks, sent=json.dumps(found["resume"].pop("seen")))
    print(f"rows={num_rows} epoch: {json.dumps(found['epoch'])}", flush=True)
    if num_rows <= args.max_baseline_rows:
        found["baseline"] = _run("whole", folder, args.ranks)
        print(f"rows={num_rows} baseline: {json.dumps(found['baseline'])}", flush=True)
    return found


def _cold(name: str, folder: Path, *numbers: int) -> dict[str, Any]:
    simulated.forget(folder)
    return _run(name, folder, *numbers)


def _node(folder: Path, num_ranks: int) -> dict[str, Any]:
    """Start the ranks of a node at once; the slowest and the largest count."""
    started = [_start("first", folder, num_ranks, rank, NODE_RANKS) for rank in range(NODE_RANKS)]
    found = [_finish(process)["own"] for process in started]
    return {name: max(f[name] for f in found) for name in found[0]}


def _run(name: str, folder: Path, *numbers: int, sent: str = "") -> dict[str, Any]:
    return _finish(_start(name, folder, *numbers), sent)


def _start(name: str, folder: Path, *numbers: int) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("plan_measures.py")
    command = [sys.executable, str(script), name, str(folder), *map(str, numbers)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread)


def _finish(process: subprocess.Popen[str], sent: str = "") -> dict[str, Any]:
    output, _ = process.communicate(sent)
    if process.returncode:
        raise RuntimeError(f"a measure ended with {process.returncode}; see its traceback above")
    return json.loads(output.splitlines()[-1])


if __name__ == "__main__":
    main()
