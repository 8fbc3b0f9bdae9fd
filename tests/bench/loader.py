"""Loading: utterances a second and worker of our loader, against one that works as WeNet's and the original's do.

    python tests/bench/loader.py [--quick] [--profile]

All sides read the same tars of utterances of 2 to 10 s, with FLAC and with WAV members, through one worker of torch's
DataLoader; that they find the same keys and samples is asserted first. Rounds alternate between sides, a round is an
epoch, from the start of its worker to the last batch, and ratios are medians over rounds. Files are in the page cache.

What a side does in its worker:
- baseline: reads tars one after the other, decodes with soundfile, encodes prompt and transcript, makes the log-mel of
  each utterance with a filterbank of its own, and pads and ships features and samples;
- wenet: WeNet's own dataset, where it can be imported (tools/install_wenet.sh), which does the same without prompts;
- ours: reads ranges, decodes, encodes, and ships samples and tokens, packed. No log-mel: the model makes it on its
  device. What that takes is measured by itself (`log_mel`, one thread on a CPU), and `ratio_with_log_mel` adds it to
  the processor time of our worker, as if it were there.

Memory is the most that a worker has for itself, not shared with the main process. The last line of the output is one
JSON object.
"""

from __future__ import annotations

import argparse
import cProfile
import multiprocessing
import pstats
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loader_corpus
import numpy as np
import psutil
import torch
from bench import interleave, median_ratio, report
from loader_corpus import FORMATS
from loader_sides import N_MELS, Baseline, Ours, Side, Wenet

from osum.audio.features import LogMel

CHECKED_EPOCH, WARMUP_EPOCH, FIRST_EPOCH = 0, 1, 2
QUICK = {"utterances": 240, "rounds": 2}


@dataclass(frozen=True)
class Cost:
    """What an epoch took."""

    wall_s: float
    worker_cpu_s: float
    """Processor time of the worker: what the wall time is without load from others."""
    main_cpu_s: float
    """That of the main process, which plans (ours) and receives."""


def main() -> None:
    """Check, warm up, time, report."""
    args = _arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        loader_corpus.write(Path(folder), args.utterances)
        sides, skipped = _sides(Path(folder))
        _assert_equal(sides, args.utterances)
        memory_mb = {name: _peak_memory_mb(side) for name, side in sides.items()}
        if args.profile:
            _profile(sides)
        costs = interleave({name: _runner(name, side) for name, side in sides.items()}, args.rounds)
        features_s = {f: _log_mel_s(sides[f"ours.{f}"], args.device) for f in FORMATS}
        sizes = {f: sum(p.stat().st_size for p in (Path(folder) / f).glob("*.tar")) for f in FORMATS}
    values = {f: _figures(f, args.utterances, costs, memory_mb, features_s[f]) for f in FORMATS}
    if skipped:
        values["wenet"] = f"skipped: {skipped}"
    values["ratio"] = {f: values[f]["ratio"] for f in FORMATS}
    values["unit"] = "utterances a second and worker; memory of a worker in MB"
    values["flac_over_wav_bytes"] = round(sizes["flac"] / sizes["wav"], 3)
    more = {name: getattr(args, name) for name in ("utterances", "rounds", "quick", "device")}
    report(benchmark="loader", **values, **more)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look within a minute: few utterances, two rounds")
    parser.add_argument("--utterances", type=int, default=2000, help="of an epoch, 6 s on average, 0.3 MB")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each side")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where our log-mel is measured")
    parser.add_argument("--profile", action="store_true", help="print what our worker spends its time on")
    args = parser.parse_args()
    if args.quick:
        args.utterances, args.rounds = QUICK["utterances"], QUICK["rounds"]
    return args


def _sides(folder: Path) -> tuple[dict[str, Side], str]:
    """Return the sides by name and format, and why one is skipped."""
    makers, skipped = {"baseline": Baseline, "wenet": Wenet, "ours": Ours}, ""
    try:
        Wenet(folder, FORMATS[0])
    except ImportError as err:
        skipped = f"{err} (tools/install_wenet.sh)"
        del makers["wenet"]
    return {f"{name}.{f}": make(folder, f) for f in FORMATS for name, make in makers.items()}, skipped


def _assert_equal(sides: dict[str, Side], num_utterances: int) -> None:
    """All sides of all formats find the same."""
    expected: dict[str, int] = {}
    for name, side in sides.items():
        found = {}
        for batch in side.epoch(CHECKED_EPOCH):
            found |= {key: hash(samples.tobytes()) for key, samples in side.utterances(batch)}
        expected = expected or found
        assert len(found) == num_utterances and found == expected, f"{name} finds other utterances"


def _worker() -> psutil.Process:
    (process,) = multiprocessing.active_children()
    return psutil.Process(process.pid)


def _peak_memory_mb(side: Side) -> float:
    """Take an epoch to warm up, and look at its worker with each batch."""
    return max(_worker().memory_full_info().uss for _ in side.epoch(WARMUP_EPOCH)) / 1e6


def _runner(name: str, side: Side) -> Any:
    def run(number: int) -> Cost:
        batches = side.epoch(FIRST_EPOCH + number)
        cost = _measure(batches)
        del batches
        print(f"round {number} {name}: {cost.wall_s:.2f} s, {cost.worker_cpu_s:.2f} s of its worker", flush=True)
        return cost

    return run


def _measure(batches: Iterator[Any]) -> Cost:
    wall_s, main_s, worker_s, worker = time.perf_counter(), time.process_time(), 0.0, None
    taken_s = wall_s
    for _ in batches:
        worker = worker or _worker()
        times = worker.cpu_times()
        # Up to the last batch: what comes then is the end of the worker.
        taken_s, worker_s = time.perf_counter(), times.user + times.system
    return Cost(taken_s - wall_s, worker_s, time.process_time() - main_s)


def _log_mel_s(side: Ours, device: str) -> float:
    """Return how long the features of an epoch take in our model, seconds: batched, on its device."""
    made = LogMel(N_MELS).to(device)
    batches = [(b.audio.to(device), b.audio_lens.to(device)) for b in side.epoch(WARMUP_EPOCH)]
    for audio, lens in batches[:2]:
        made(audio, lens)
    found = []
    for _ in range(3):
        wait(device)
        started_s = time.perf_counter() if device == "cuda" else time.process_time()
        for audio, lens in batches:
            made(audio, lens)
        wait(device)
        found.append((time.perf_counter() if device == "cuda" else time.process_time()) - started_s)
    return statistics.median(found)


def wait(device: str) -> None:
    """Wait until a GPU has done what it was asked for."""
    if device == "cuda":
        torch.cuda.synchronize()


def _figures(
    audio_format: str,
    num_utterances: int,
    costs: dict[str, list[Cost]],
    memory_mb: dict[str, float],
    features_s: float,
) -> dict[str, Any]:
    of_format = {name.partition(".")[0]: c for name, c in costs.items() if name.endswith(audio_format)}
    figures: dict[str, Any] = {}
    for name, of_side in of_format.items():
        figures[name] = {
            "utts_per_s": round(num_utterances / statistics.median(c.wall_s for c in of_side), 1),
            "utts_per_worker_cpu_s": round(num_utterances / statistics.median(c.worker_cpu_s for c in of_side), 1),
            "main_cpu_share": round(statistics.median(c.main_cpu_s / c.wall_s for c in of_side), 3),
            "memory_mb": round(memory_mb[f"{name}.{audio_format}"]),
        }
    ours = of_format["ours"]
    figures["log_mel"] = {"ours": "in the model", "utts_per_s": round(num_utterances / features_s, 1)}
    for name in set(of_format) - {"ours"}:
        walls = [[c.wall_s for c in of_side] for of_side in (of_format[name], ours)]
        theirs, cpus = ([c.worker_cpu_s for c in of_side] for of_side in (of_format[name], ours))
        found = {
            "ratio": median_ratio(*walls),
            "ratio_of_processor_time": median_ratio(theirs, cpus),
            "ratio_with_log_mel": median_ratio(theirs, list(np.array(cpus) + features_s)),
        }
        rounded = {key: round(value, 2) for key, value in found.items()}
        figures |= rounded if name == "baseline" else {f"{key}_{name}": value for key, value in rounded.items()}
    return figures


def _profile(sides: dict[str, Side]) -> None:
    for audio_format in FORMATS:
        profile = cProfile.Profile(time.process_time)
        profile.runcall(lambda f=audio_format: list(sides[f"ours.{f}"].epoch(WARMUP_EPOCH, num_workers=0)))
        print(f"ours.{audio_format}, without a worker:")
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
