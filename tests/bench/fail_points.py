"""Named moments at which a training process kills itself: each is arranged in the process, from outside the program."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from runs import kill_self


def before(owner: Any, name: str, call: int, do: Callable[..., None] = lambda *_, **__: None) -> None:
    """When `owner.name` is called for the n-th time, counted from 1: `do` the same with its arguments, and die."""
    original, calls = getattr(owner, name), count(1)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            do(*args, **kwargs)
            kill_self()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def between_micro_batches() -> None:
    """In the fourth step, with the gradients of half of it."""
    from osum.train.trainer import Trainer

    before(Trainer, "_forward", 4 * 4 - 1)


def with_half_of_the_weights_updated() -> None:
    """In the fifth step, between the two optimizers."""
    from osum.train.muon import Muon

    before(Muon, "step", 5)


def in_validation() -> None:
    """In the first validation, after one pack."""
    from osum.train.trainer import Trainer

    def dying(packs: Iterator[Any]) -> Iterator[Any]:
        yield next(packs)
        kill_self()

    def start(trainer: Trainer) -> dict[str, float]:
        packs = trainer.valid_packs
        trainer.valid_packs = lambda: dying(packs())
        return validate(trainer)

    validate = Trainer.validate
    Trainer.validate = start


def in_a_line_of_metrics() -> None:
    """With half of the second line written."""
    from osum.train.meters import MetricsFile

    def half(metrics: MetricsFile, **_: Any) -> None:
        with open(metrics.path, "a") as f:
            f.write('{"step": 3, "spl')

    before(MetricsFile, "write", 2, half)


def with_half_of_a_shard_written() -> None:
    """In the second checkpoint."""
    from osum.train import checkpoint

    def half(state: Path, _: str) -> None:
        for shard in state.parent.iterdir():
            shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])

    before(checkpoint, "atomic_write", 2, half)


def with_the_shards_but_not_the_state_written() -> None:
    """In the second checkpoint."""
    from osum.train import checkpoint

    before(checkpoint, "atomic_write", 2)


def before_a_checkpoint_gets_its_name() -> None:
    """In the second checkpoint, all of which is written."""
    from osum.train import checkpoint

    before(checkpoint, "move_durably", 2)


def before_the_old_ones_are_removed() -> None:
    """The second checkpoint is there, and so is the first."""
    from osum.train import checkpoint

    before(checkpoint, "prune", 2)


def while_an_old_one_is_removed() -> None:
    """A checkpoint has lost its name, but is still on disk."""
    from osum.train import checkpoint

    removed = checkpoint._remove

    def half(path: Path) -> None:
        before(checkpoint.shutil, "rmtree", 1)
        removed(path)

    checkpoint._remove = half


def in_a_line_of_the_ledger() -> None:
    """With half of a line written, the third time: before a checkpoint, or at the end of an epoch."""
    from osum.data.load.ledger_file import LedgerFile

    def half(ledger: LedgerFile) -> None:
        with open(ledger._folder / "ledger.0.jsonl", "a") as f:
            f.write('{"plan": "0", "epo')

    before(LedgerFile, "write", 3, half)


def before_the_ledger_of_an_epoch() -> None:
    """The first epoch is over, and not accounted for."""
    from osum.data.load.ledger import EpochLedger

    before(EpochLedger, "save", 1)


def the_last_rank_stands_still() -> None:
    """From the second step on, for ten minutes; not a death, but what the others see of one on a network."""
    from osum.train.trainer import Trainer

    if int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
        before(Trainer, "step", 2, lambda *_: time.sleep(600))


def before_the_final_model() -> None:
    """The last checkpoint is there, the model is not."""
    from osum.model import folder

    before(folder, "save_parameters", 1)


def before_the_done_mark() -> None:
    """All is there but the mark that says so."""
    from osum import outputs

    before(outputs, "atomic_write", 2)  # the first mark says that it was started


POINTS = (
    between_micro_batches,
    with_half_of_the_weights_updated,
    in_validation,
    in_a_line_of_metrics,
    with_half_of_a_shard_written,
    with_the_shards_but_not_the_state_written,
    before_a_checkpoint_gets_its_name,
    before_the_old_ones_are_removed,
    while_an_old_one_is_removed,
    in_a_line_of_the_ledger,
    before_the_ledger_of_an_epoch,
    before_the_final_model,
    before_the_done_mark,
)
