"""Kill tiny runs of stage 4 with SIGKILL at random moments, start them again each time, and compare how they end.

    python tests/bench/resume.py --kills 50 --ranks 1 2

Prints a table of the kills as Markdown, then one line of JSON. Fails unless each run ends with the same metrics and the
same weights, to the bit, as one that ran through.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import report  # noqa: E402
from runs import Run, differing, finish  # noqa: E402

TRAIN = {"max_steps": 80, "log_every": 2, "valid_every": 5, "save_every": 3, "keep_best": {"loss": 2}}
MOMENTS = ("step", "validate", "_save", "_close_epoch")
"""Methods of the trainer, of which a kill notes the one that it met."""
AIMS = ("any", "step", "validate", "save", "save", "start")
"""Where a kill may aim at: a moment in one of them, or within the first steps of a life, or before."""
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


def make_inputs(folder: Path) -> tuple[Path, Path]:
    """Write shards and a tokenizer, those of the tests; return their folders."""
    from conftest import TEXTS, write_shards

    from osum.text import tokenizer
    from osum.text.units import CtcUnits

    for seed, (split, num_utterances) in enumerate({"train": 24, "dev": 4}.items()):
        write_shards(folder / "shards" / split, num_utterances, seed)
    (folder / "shards" / ".done.json").write_text('{"fingerprint": "toy"}')
    tokenizer.train(TEXTS, 300, ["<female>", "<male>"]).save_pretrained(folder / "tokenizer")
    CtcUnits.build(TEXTS).save(folder / "tokenizer" / "units.txt")
    return folder / "shards", folder / "tokenizer"


def killed_and_whole(folder: Path, inputs: tuple[Path, Path], num_ranks: int, num_kills: int, seed: int) -> dict:
    """Return in which methods the kills came, and what differs in the end."""
    whole = Run(folder / f"whole-{num_ranks}", *inputs, num_ranks, TRAIN)
    assert finish(whole.start(), LIMIT_S) == [0] * num_ranks, f"see {whole.folder}/log.0"
    lines = [json.loads(line) for line in (whole.out_dir / "metrics.jsonl").read_text().splitlines()]
    step_s = (lines[-1]["wall_s"] - lines[0]["wall_s"]) / (lines[-1]["step"] - lines[0]["step"])
    run = Run(folder / f"killed-{num_ranks}", *inputs, num_ranks, TRAIN)
    run.folder.mkdir()
    rng, moments = np.random.default_rng((seed, num_ranks)), Counter()
    print("| ranks | kill | killed | in | checkpoint | half-written |\n|---|---|---|---|---|---|", flush=True)
    for number in range(num_kills):
        victim, moment = kill_once(run, rng, step_s)
        moments[moment] += 1
        print(f"| {num_ranks} | {number + 1} | {victim} | {moment} | {' | '.join(left_behind(run))} |", flush=True)
    assert finish(run.start(), LIMIT_S) == [0] * num_ranks, f"see {run.folder}/log.0"
    differs = differing(run.result(), whole.result())
    print(
        f"\n{num_ranks} ranks, {num_kills} kills: "
        + (f"differs in {differs}" if differs else "equal to the bit")
        + "\n"
    )
    return {"in": dict(moments), "differing": differs}


def kill_once(run: Run, rng: np.random.Generator, step_s: float) -> tuple[str, str]:
    """Start, kill one rank or all at a random moment, end the others; return who was killed and in which method."""
    note = run.folder / "moment"
    note.write_text("start")
    ranks = run.start(die=partial(note_moments, note))
    aim = AIMS[int(rng.integers(len(AIMS)))]
    while note.read_text() != aim and not (aim == "any" and note.read_text() != "start"):
        if any(r.exitcode is not None for r in ranks):
            break
        time.sleep(0.001)
    time.sleep(rng.uniform(0, {"any": WINDOW_STEPS * step_s, "step": step_s, "start": 1.0}.get(aim, 0.03)))
    victims = ranks if rng.random() < 0.5 else [ranks[int(rng.integers(len(ranks)))]]
    for rank in victims:
        rank.kill()
    finish(ranks)
    return "all" if len(victims) == len(ranks) else f"rank {ranks.index(victims[0])}", note.read_text()


def left_behind(run: Run) -> Iterator[str]:
    """Yield the last checkpoint, and what is half-written, as a kill left them."""
    checkpoints = run.out_dir / "checkpoints"
    yield max((p.name for p in checkpoints.glob("step-*")), default="none")
    yield ", ".join(sorted(p.name for p in checkpoints.glob(".*"))) or "nothing"


def note_moments(path: Path) -> None:
    """Let the trainer of this process write down in which of its methods it is."""
    from osum.train.trainer import Trainer

    for name in MOMENTS:
        setattr(Trainer, name, _noting(getattr(Trainer, name), name.strip("_"), path))


def _noting(method: Callable[..., Any], name: str, path: Path) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        path.write_text(name)
        try:
            return method(*args, **kwargs)
        finally:
            path.write_text("between")

    return noted


if __name__ == "__main__":
    main()
