"""Kill tiny runs of stage 4 with SIGKILL at random moments, start them again each time, and compare how they end.

    python tests/bench/resume.py --kills 50 --ranks 1 2

Prints a table of the kills as Markdown, then one line of JSON. A run that comes to its end is compared, and the kills
go on in a new one. Fails unless all end with the same metrics, weights, optimizer state and ledgers, to the bit, as one
that ran through.
"""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import report  # noqa: E402
from runs import Run, differing, finish  # noqa: E402

TRAIN = {"max_steps": 40, "log_every": 2, "valid_every": 5, "save_every": 3, "keep_best": {"loss": 2}}
MOMENTS = {
    "osum.train.trainer.Trainer": {"step": "step", "validate": "validate", "_save": "save", "_close_epoch": "epoch"},
    "osum.train.saver.Saver": {"_finish": "replace"},
}
"""Methods by class, and what a kill that meets one calls it. In "replace", a checkpoint gets its name and another
loses it; files are written beside all of them, for which the table has a column."""
LENGTHS_S = {"save": 0.03, "replace": 0.01, "validate": 0.03, "start": 1.0}
"""Within how long after the beginning of what it aims at a kill comes. In a step: within the length of one."""
AIMS = ("any", "step", *LENGTHS_S)
"""Where a kill may aim at: "any" is a moment in the first steps of a life, "start" one before them."""
WINDOW_STEPS = 6
LIMIT_S = 1800.0
"""Longest run that is not killed."""


def main() -> None:
    """Run through, kill and compare for each number of ranks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="for each number of ranks")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="processes of a run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(Path(folder))
        for num_ranks in args.ranks:
            found[str(num_ranks)] = killed_and_whole(Path(folder), inputs, num_ranks, args.kills, args.seed)
    report(benchmark="resume", kills=args.kills, seed=args.seed, ranks=found)
    if any(of_ranks["differing"] for of_ranks in found.values()):
        sys.exit(1)


def make_inputs(folder: Path, num_train: int = 24) -> tuple[Path, Path]:
    """Write shards and a tokenizer, those of the tests; return their folders."""
    from conftest import TEXTS, write_shards

    from osum.text import tokenizer
    from osum.text.units import CtcUnits

    for seed, (split, num_utterances) in enumerate({"train": num_train, "dev": 4}.items()):
        write_shards(folder / "shards" / split, num_utterances, seed)
    (folder / "shards" / ".done.json").write_text('{"fingerprint": "toy"}')
    tokenizer.train(TEXTS, 300, ["<female>", "<male>"]).save_pretrained(folder / "tokenizer")
    CtcUnits.build(TEXTS).save(folder / "tokenizer" / "units.txt")
    return folder / "shards", folder / "tokenizer"


def killed_and_whole(folder: Path, inputs: tuple[Path, Path], num_ranks: int, num_kills: int, seed: int) -> dict:
    """Return in which methods the kills came, how many checkpoints were half-written, and what differs in the end."""
    whole = Run(folder / f"whole-{num_ranks}", *inputs, num_ranks, TRAIN)
    assert finish(whole.start(), LIMIT_S) == [0] * num_ranks, f"see {whole.folder}/log.0"
    lines = [json.loads(line) for line in (whole.out_dir / "metrics.jsonl").read_text().splitlines()]
    step_s = (lines[-1]["wall_s"] - lines[0]["wall_s"]) / (lines[-1]["step"] - lines[0]["step"])
    rng, moments, num_kills_done, num_half, differs = np.random.default_rng((seed, num_ranks)), Counter(), 0, 0, []
    runs = [Run(folder / f"killed-{num_ranks}-0", *inputs, num_ranks, TRAIN)]
    print("| ranks | run | kill | killed | in | checkpoint | half-written |\n|---|---|---|---|---|---|---|", flush=True)
    while num_kills_done < num_kills:
        victim, moment = kill_once(runs[-1], rng, step_s)
        if victim is None:
            differs += differing(runs[-1].result(), whole.result())
            runs.append(Run(folder / f"killed-{num_ranks}-{len(runs)}", *inputs, num_ranks, TRAIN))
            continue
        num_kills_done, (last, half) = num_kills_done + 1, left_behind(runs[-1])
        moments[moment], num_half = moments[moment] + 1, num_half + bool(half)
        row = (num_ranks, len(runs), num_kills_done, victim, moment, last, half or "nothing")
        print("|", " | ".join(map(str, row)), "|", flush=True)
    assert finish(runs[-1].start(), LIMIT_S) == [0] * num_ranks, f"see {runs[-1].folder}/log.0"
    differs += differing(runs[-1].result(), whole.result())
    outcome = f"differ in {differs}" if differs else "equal to the bit"
    print(f"\n{num_ranks} ranks, {num_kills} kills, {len(runs)} runs: {outcome}\n")
    return {"in": dict(moments), "half_written": num_half, "runs": len(runs), "differing": differs}


def kill_once(run: Run, rng: np.random.Generator, step_s: float) -> tuple[str | None, str]:
    """Start, kill one rank or all at a random moment, end the others; return who was killed and in which method.

    None if the run had come to its end before.
    """
    run.folder.mkdir(exist_ok=True)
    note = run.folder / "moment"
    note.write_text("start")
    ranks = run.start(die=partial(note_moments, note))
    aim = AIMS[int(rng.integers(len(AIMS)))]
    while note.read_text() not in ({aim} if aim != "any" else {"step", *LENGTHS_S} - {"start"}):
        if any(r.exitcode is not None for r in ranks):
            break
        time.sleep(0.001)
    time.sleep(rng.uniform(0, LENGTHS_S.get(aim, step_s * (WINDOW_STEPS if aim == "any" else 1))))
    assert not any(r.exitcode for r in ranks), f"failed by itself; see {run.folder}/log.*"
    victims = ranks if rng.random() < 0.5 else [ranks[int(rng.integers(len(ranks)))]]
    for rank in victims:
        rank.kill()
    codes = finish(ranks)
    if set(codes) == {0}:
        return None, "end"
    assert any(victim.exitcode == -signal.SIGKILL for victim in victims), f"{codes}; see {run.folder}/log.0"
    return "all" if len(victims) == len(ranks) else f"rank {ranks.index(victims[0])}", note.read_text() or "between"


def left_behind(run: Run) -> tuple[str, str]:
    """Return the last checkpoint, and what is half-written, as a kill left them; "none" and "" for no such thing."""
    checkpoints = run.out_dir / "checkpoints"
    last = max((p.name for p in checkpoints.glob("step-*")), default="none")
    return last, ", ".join(sorted(p.name for p in checkpoints.glob(".*")))


def note_moments(path: Path) -> None:
    """Let the main process write down in which of its methods it is; it alone writes, so that no other interferes."""
    if os.environ["RANK"] != "0":
        return
    inside = ["between"]
    for owner, names in MOMENTS.items():
        for name, moment in names.items():
            cls = pkgutil.resolve_name(owner)
            setattr(cls, name, _noting(getattr(cls, name), moment, inside, path))


def _noting(method: Callable[..., Any], moment: str, inside: list[str], path: Path) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        inside.append(moment)
        path.write_text(moment)
        try:
            return method(*args, **kwargs)
        finally:
            inside.pop()
            path.write_text(inside[-1])

    return noted


if __name__ == "__main__":
    main()
