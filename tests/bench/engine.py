"""What the training engine costs over the bare step, how long it waits for data, and how long a checkpoint stops it.

    python tests/bench/engine.py --steps 20 [--ranks 2]

The bare step is augmentation, forward, backward, clipping and the optimizer on batches that are there; the engine is
the trainer's loop on the same batches, with its counts, random draws, meters, checks and log. Both are measured in
processor time of all processes, in rounds that alternate, so that other load on the machine matters little; the time
that training waits for its loader and for a checkpoint is real time, and needs an idle machine. The model and its packs
are as large as those of the recipe on the embedded corpus; steps that take less than a tenth of a second say nothing of
real ones, and are an error. All steps are of one epoch. Goals: overhead at most 5 %, data wait at most 2 %, and a
checkpoint of a LoRA run stops training for at most a second.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import interleave, median_ratio, report  # noqa: E402
from resume import make_inputs  # noqa: E402
from runs import context, finish, places  # noqa: E402

from osum import dist  # noqa: E402
from osum.data.load.loader import EpochStart, Step  # noqa: E402
from osum.data.plan.config import PlanConfig  # noqa: E402
from osum.model.configs import AdaptorConfig, LlmSizes, SpeechLlmConfig, WhisperSizes  # noqa: E402
from osum.model.folder import SulmRecord  # noqa: E402
from osum.rng import rng_for  # noqa: E402
from osum.text import tokenizer as tokenizers  # noqa: E402
from osum.text.template import SulmTemplate  # noqa: E402
from osum.train import checkpoint, compute  # noqa: E402
from osum.train.configs import CorpusConfig, OptimConfig, TrainConfig  # noqa: E402
from osum.train.corpus import Corpus, load_units  # noqa: E402
from osum.train.optim import Optimizer, lr_share  # noqa: E402
from osum.train.parallel import Replica  # noqa: E402
from osum.train.saver import Saver  # noqa: E402
from osum.train.trainer import Trainer  # noqa: E402

SIZES = SpeechLlmConfig(AdaptorConfig(1, 4, 256), LlmSizes(hidden_size=128, num_layers=3, ffn_dim=384))
PLAN = PlanConfig(virtual_ranks=2, max_tokens=2048, max_audio_s=18.0)
"""Those of the embedded corpus's recipe."""
UTTERANCES_A_STEP = 60
"""At most: they take 0.3 s or more."""
SHORTEST_STEP_S = 0.1
RESULT = "found.json"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    parser.add_argument("--num_workers", type=int, default=1, help="loader processes while data wait is measured")
    parser.add_argument(
        "--saved_parameters", type=float, default=70e6, help="trained ones of the checkpoint; 0 for none"
    )
    parser.add_argument("--ranks", type=int, default=1, help="processes of the run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = make_inputs(folder, UTTERANCES_A_STEP * args.steps)
        ranks = [context().Process(target=measure, args=(place, folder, inputs, args)) for place in places(args.ranks)]
        for rank in ranks:
            rank.start()
        assert finish(ranks, limit_s=3600) == [0] * args.ranks
        values = json.loads((folder / RESULT).read_text())
    report(benchmark="engine", steps=args.steps, rounds=args.rounds, ranks=args.ranks, **values)


def measure(place: dict[str, str], folder: Path, inputs: tuple[Path, Path], args: argparse.Namespace) -> None:
    """Do so as one of the processes; the first writes what was found."""
    logging.getLogger("osum").setLevel(logging.WARNING)
    os.environ |= place
    torch.set_num_threads(1)
    with dist.world() as world:
        bench = Bench(world, folder, inputs, args.steps, args.num_workers)
        bench.bare(0)  # to warm up
        costs = interleave({"bare": bench.bare, "engine": bench.engine}, args.rounds)
        values: dict[str, Any] = {"overhead": round(median_ratio(costs["engine"], costs["bare"]) - 1, 4)}
        step_s = statistics.median(costs["bare"]) / args.steps
        if step_s < SHORTEST_STEP_S:
            sys.exit(f"a step takes {step_s:.3f} s, less than {SHORTEST_STEP_S}: make it larger")
        values["bare_cpu_s_a_step"] = round(step_s, 4)
        values["data_wait"] = round(bench.data_wait(), 4)
        if args.saved_parameters:
            values |= save_time(world, folder / "save", int(args.saved_parameters))
        if world.is_main:
            (folder / RESULT).write_text(json.dumps(values))


class Replay:
    """A loader whose steps are all there before the clock starts."""

    def __init__(self, loader: Any, steps: Sequence[Step]) -> None:
        self._loader, self._steps = loader, steps

    def steps(self, start: int, known: EpochStart) -> Iterator[Step]:
        """Yield the steps from `start` on."""
        yield from self._steps[start:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class Bench:
    """Data, and models that start alike."""

    def __init__(
        self, world: dist.World, folder: Path, inputs: tuple[Path, Path], num_steps: int, num_workers: int
    ) -> None:
        self._world, self._folder, self._num_steps = world, folder, num_steps
        shards, tokenizer_dir = inputs
        tokenizer, units = tokenizers.load(tokenizer_dir), load_units(tokenizer_dir)
        data = CorpusConfig(["asr", "sgc"], plan=PLAN, num_workers=num_workers)
        self._corpus = Corpus(shards, data, SulmTemplate(tokenizer), units, 1, folder / "cache")
        sizes = (len(tokenizer), int(tokenizer.eos_token_id), len(units))
        self._record = SulmRecord(WhisperSizes(), SIZES, *sizes, prompts={})
        optim = OptimConfig(lr=1e-4, warmup_steps=10)
        never = {"valid_every": 10**9, "save_every": 10**9}
        self._cfg = TrainConfig(max_steps=num_steps, log_every=10, ctc_weight=0.3, optim=optim, **never)
        loader = self._loader("prefetch")
        self._steps = [step for step, _ in zip(loader.steps(), range(num_steps), strict=False)]
        assert self._steps[-1].epoch == 0

    def _loader(self, name: str) -> Any:
        out = self._folder / name
        out.mkdir(exist_ok=True)
        return self._corpus.loader(self._world, out)

    def _trainer(self, name: str, loader: Any) -> Trainer:
        torch.manual_seed(0)
        trainer = Trainer(self._record.build(), loader, lambda: iter(()), self._cfg, self._world, self._folder / name)
        # They come once a thousand steps, and are measured by themselves.
        trainer._save = lambda *_, **__: None
        return trainer

    def engine(self, number: int) -> float:
        """Return the processor time of the trainer's loop."""
        name = f"engine-{number}"
        trainer = self._trainer(name, Replay(self._loader(name), self._steps))
        started_s = time.process_time()
        trainer.run()
        return _of_all(time.process_time() - started_s)

    def bare(self, _: int) -> float:
        """Return the processor time of the same steps without the trainer."""
        torch.manual_seed(0)
        model, cfg, size = self._record.build().train(), self._cfg, self._world.size
        compute.prepare(model, cfg.precision, cfg.compute, torch.device("cpu"))
        optimizer, replica = Optimizer(model, cfg.optim), Replica(model, self._world)
        rngs = [rng_for(0, key) for step in self._steps for batch in step.batches for key in batch.keys]
        started_s, draws = time.process_time(), iter(rngs)
        for step in self._steps:
            for number, batch in enumerate(step.batches, 1):
                random = list(islice(draws, len(batch.keys)))
                loss = replica.run(batch, cfg.spec_augment, random, exchanging=number == len(step.batches))
                (loss.weighted_nll * size / 1000 + cfg.ctc_weight * loss.ctc * size / 1000).backward()
            nn.utils.clip_grad_norm_(model.parameters(), cfg.optim.max_grad_norm)
            optimizer.step(lr_share(step.step, cfg.max_steps, cfg.optim))
        return _of_all(time.process_time() - started_s)

    def data_wait(self) -> float:
        """Return the share of time that training waits for its loader, in the last report of a run."""
        trainer = self._trainer("wait", self._loader("wait"))
        trainer.run()
        self._world.barrier()
        lines = map(json.loads, (self._folder / "wait" / "metrics.jsonl").read_text().splitlines())
        return [line["data_wait"] for line in lines if line["split"] == "train"][-1]


def _of_all(cpu_s: float) -> float:
    return float(dist.all_reduce_sum(torch.tensor([cpu_s], dtype=torch.float64)))


def save_time(world: dist.World, folder: Path, num_parameters: int) -> dict[str, float]:
    """Return how long a checkpoint of so many trained parameters stops training, and its size."""
    width = 1024
    model = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(num_parameters // width**2))
    optimizer = Optimizer(model, OptimConfig())
    for layer in model:
        layer.weight.grad = torch.ones_like(layer.weight)
    optimizer.step(1.0)
    saver = Saver(folder, optimizer, world, keep_last=1)
    saver.make_room()
    started_s = time.monotonic()
    saver.save(1)
    stopped_s = time.monotonic() - started_s
    saver.wait()
    written_s = time.monotonic() - started_s
    (path,) = checkpoint.existing(folder)
    size = sum(p.stat().st_size for p in path.iterdir())
    return {
        "save_stops_s": round(stopped_s, 3),
        "save_takes_s": round(written_s, 3),
        "checkpoint_gb": round(size / 1e9, 3),
    }


if __name__ == "__main__":
    main()
