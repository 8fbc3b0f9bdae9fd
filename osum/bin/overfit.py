"""Self-test of the training stage: learn one utterance of each task by heart, and write all targets exactly.

Takes the options of `train_sulm`, writes nothing, and fails unless every target is reproduced token for token.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from osum import config, dist, log
from osum.bin.train_sulm import TrainSulmConfig, assemble

logger = log.get(__name__)


@dataclass
class OverfitConfig(TrainSulmConfig):
    """Learn one utterance of each task by heart."""

    out_dir: Path | None = None
    """Ignored: nothing is kept."""
    max_steps: int = 300
    """Optimizer steps at most; the schedule of learning rates ends with them."""
    check_every: int = 25
    """Steps between two looks at what the model writes; it stops when all is exact."""

    def __post_init__(self) -> None:
        """ValueError for steps that are none."""
        super().__post_init__()
        for name in ("max_steps", "check_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


def main(argv: list[str] | None = None) -> None:
    """Train and compare. ValueError if a target is not reproduced in the given number of steps."""
    cfg = config.load(OverfitConfig, argv)
    with dist.world() as world, tempfile.TemporaryDirectory() as folder:
        log.setup(world.rank)
        run(cfg, world, Path(folder))


def run(cfg: OverfitConfig, world: dist.World, folder: Path) -> None:
    """Train in a folder that is thrown away."""
    from osum.train import overfit
    from osum.train.trainer import Trainer

    # One utterance of each task is taken, however often training would.
    data = replace(cfg.data, plan=replace(cfg.data.plan, task_weights={}))
    corpus, model, _ = assemble(replace(cfg, data=data), folder / "cache")
    examples = overfit.one_of_each(corpus.train)
    train = replace(cfg.train, max_steps=cfg.max_steps, spec_augment=None)
    trainer = Trainer(model, corpus.loader(world, folder), corpus.valid_packs(world), train, world, folder)
    for step, num_exact in overfit.learn(trainer, corpus.train, examples, cfg.check_every):
        logger.info("overfit step=%d/%d exact=%d/%d", step, cfg.max_steps, num_exact, len(examples))
    if num_exact < len(examples):
        wrong = [
            e.task for e, same in zip(examples, overfit.exact(trainer, corpus.train, examples), strict=True) if not same
        ]
        raise ValueError(f"after {cfg.max_steps} steps the targets of {wrong} are not reproduced; raise --max_steps")


if __name__ == "__main__":
    log.run_main(main)
