"""What both training stages share around the trainer: options, what they are made from, processes, the output folder.

Nothing here needs torch: a rerun that has nothing to do need not wait for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from osum import dist, log, outputs, tasks
from osum.train.configs import CorpusConfig, TrainConfig

TOKENIZER_FILES = ("tokenizer.json", "units.txt", "added_tokens.txt")
"""What is read of a tokenizer's folder; the first must be there."""


@dataclass
class StageConfig:
    """Train a model on shards."""

    shards_dir: Path
    """Folder of stage 2, with `train` and `dev`."""
    tokenizer_dir: Path
    """Folder with the tokenizer (of the LLM, in stage 4) and `units.txt`."""
    out_dir: Path
    """Folder of the model, its checkpoints and metrics."""
    data: CorpusConfig = field(default_factory=CorpusConfig)
    """Tasks and batches."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Training."""
    num_procs: int = 1
    """Processes on this machine, which torchrun starts if they are several; their number changes no batch."""
    overwrite: bool = False
    """Replace the folder instead of resuming in it."""
    accept_changes: bool = False
    """Resume in the folder although settings or inputs are not those that it was begun with."""

    def __post_init__(self) -> None:
        """ValueError for no process."""
        if self.num_procs < 1:
            raise ValueError(f"num_procs is {self.num_procs}; it must be at least 1")


Config = TypeVar("Config", bound=StageConfig)


def run_stage(
    module: str,
    cfg: Config,
    argv: Sequence[str] | None,
    bases: Iterable[Path | str | None],
    train: Callable[[Config, dist.World, Path], None],
) -> None:
    """Call `train` on every process with the folder to train in; does nothing if that holds the finished model.

    `bases`: the models and tokenizers that it starts from. ValueError if the folder was begun with other settings or
    inputs; FileNotFoundError for an input that is missing.
    """
    log.setup(dist.here().rank)
    made_from = inputs(cfg, bases)
    if outputs.up_to_date(cfg.out_dir, cfg, made_from, cfg.overwrite, in_place=True, accept_changes=cfg.accept_changes):
        return
    dist.launch(module, sys.argv[1:] if argv is None else argv, cfg.num_procs)
    with (
        dist.world() as world,
        outputs.output_dir(cfg.out_dir, cfg, made_from, cfg.overwrite, True, world, cfg.accept_changes) as out,
    ):
        if out is not None:
            train(cfg, world, out)


def inputs(cfg: StageConfig, bases: Iterable[Path | str | None] = ()) -> dict[str, str]:
    """Return by name what identifies all that a training stage reads.

    A base that is a Path has to be there, while a string may name one of a hub, of which the config says all.
    """
    files = [cfg.tokenizer_dir / name for name in TOKENIZER_FILES]
    files = [path for n, path in enumerate(files) if n == 0 or path.is_file()]
    folders = [Path(base) for base in bases if base and (isinstance(base, Path) or Path(base).is_dir())]
    prompts = outputs.digest(tasks.load_prompts(cfg.data.prompts_dir, cfg.data.tasks))
    return outputs.fingerprints([cfg.shards_dir, *files, *folders, *cfg.data.augment.lists]) | {"prompts": prompts}
