"""Checkpoints are written while training goes on: it stops for the time of a copy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as td
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.staging import BlockingAsyncStager

from osum import log
from osum.data.load.loader import FIRST_EPOCH, EpochStart
from osum.dist import World
from osum.train import checkpoint
from osum.train.optim import Optimizer

CLOSE_S = 60.0
"""Longest wait for a checkpoint when the run has failed, seconds: other processes may be dead."""

logger = log.get(__name__)


@dataclass(frozen=True)
class _Pending:
    path: Path
    step: int
    metrics: Mapping[str, float]
    passing: bool
    epoch_start: EpochStart
    written: Future


class Room(BlockingAsyncStager):
    """Memory for the copy of a state, which is kept: to touch it for the first time takes far longer than to copy."""

    def make(self, state: Mapping[str, Tensor]) -> None:
        """Take it, unless it is there for these tensors; page-locked where there is CUDA."""
        if self.state_dict_cache is not None and self.state_dict_cache.keys() == state.keys():
            return
        self.state_dict_cache = None
        # Torch keeps only what it can lock, for which it needs CUDA: elsewhere its first copy becomes the room.
        self.cache_staged_state_dict = torch.cuda.is_available()
        self.state_dict_cache = super().stage(dict(state))
        self.cache_staged_state_dict = True

    def stage(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Copy into it."""
        self.make(state_dict)
        return dict(super().stage(state_dict))


class Saver:
    """Writes the checkpoints of a run, one at a time, and removes those that are not to be kept.

    All processes call `save` and `wait` together. A checkpoint that is written gets its name in `poll` or `wait`.
    """

    def __init__(
        self,
        folder: Path,
        optimizer: Optimizer,
        world: World,
        keep_last: int,
        keep_best: Mapping[str, int] | None = None,
    ) -> None:
        self._folder, self._optimizer, self._world = folder, optimizer, world
        self._keep_last, self._keep_best = keep_last, dict(keep_best or {})
        # What the processes tell each other of a checkpoint must not come between the gradients.
        self._group = td.new_group(backend="gloo") if world.size > 1 else None
        self._room = Room()
        self._pending: _Pending | None = None
        self._is_open = False
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process is meant to be alone

    def make_room(self) -> None:
        """Take the memory for the copy before it is needed: after the first step with whatever is trained now."""
        self._room.make(checkpoint.state_of(self._optimizer))

    def save(
        self,
        step: int,
        metrics: Mapping[str, float] | None = None,
        passing: bool = False,
        epoch_start: EpochStart = FIRST_EPOCH,
    ) -> None:
        """Copy the state after so many steps, and have it written to `step-NNNNNNNN`. See `checkpoint.finish`.

        OSError naming the checkpoint before if that could not be written.
        """
        self.wait()
        path = checkpoint.path_of(self._folder, step)
        with checkpoint.naming(path):
            partial = checkpoint.begin(path) if self._world.is_main else checkpoint.partial_of(path)
            self._world.barrier()
            writer = dcp.HuggingFaceStorageWriter(str(partial), save_distributed=True)
            state = checkpoint.state_of(self._optimizer)
            written = dcp.async_save(state, async_stager=self._room, storage_writer=writer, process_group=self._group)
        self._pending, self._is_open = _Pending(path, step, metrics or {}, passing, epoch_start, written), True

    def poll(self) -> None:
        """Give the checkpoint its name if it is written by now; between two steps."""
        if self._world.is_main and self._pending is not None and self._pending.written.done():
            self._finish(self._pending)

    def wait(self) -> None:
        """Wait until the checkpoint is on disk under its name. OSError naming it if it could not be written."""
        if not self._is_open:
            return
        if self._pending is not None:
            self._finish(self._pending)
        self._is_open = False
        self._world.barrier()

    def close(self) -> None:
        """After an error: still give the checkpoint its name, if it is written without the other processes' help."""
        if self._pending is None or not self._world.is_main:
            return
        try:
            self._finish(self._pending, timeout_s=CLOSE_S)
        except (OSError, RuntimeError) as err:
            logger.warning("checkpoint not finished: %s", err)

    def _finish(self, pending: _Pending, timeout_s: float | None = None) -> None:
        self._pending = None
        try:
            with checkpoint.naming(pending.path):
                pending.written.result(timeout_s)
                if self._world.is_main:
                    about = (pending.step, pending.metrics, pending.passing, pending.epoch_start)
                    checkpoint.finish(pending.path, *about)
        except OSError:
            if self._world.is_main:
                checkpoint.abandon(pending.path)
            raise
        if self._world.is_main:
            checkpoint.prune(self._folder, self._keep_last, self._keep_best)
