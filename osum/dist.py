"""Processes of one job: torchrun's (or srun's) environment, and nothing else, read in one place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as td


@dataclass(frozen=True)
class World:
    """Where this process stands among those of the job."""

    rank: int
    size: int
    local_rank: int

    @property
    def is_main(self) -> bool:
        """True on the one process that writes files and logs."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The accelerator of this process, or the CPU."""
        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            td.barrier()


@contextmanager
def world() -> Iterator[World]:
    """Join the process group that torchrun describes; a single process without torchrun needs none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    here = World(int(os.environ.get("RANK", "0")), size, int(os.environ.get("LOCAL_RANK", "0")))
    if here.device.type == "cuda":
        torch.cuda.set_device(here.device)
    if size > 1:
        td.init_process_group("nccl" if here.device.type == "cuda" else "gloo")
    try:
        yield here
    finally:
        if td.is_initialized():
            td.destroy_process_group()


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Return the elementwise sum over all processes (the tensor itself when there is one)."""
    if td.is_initialized():
        td.all_reduce(values)
    return values
