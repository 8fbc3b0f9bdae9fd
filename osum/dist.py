"""Processes of one job: torchrun's (or srun's) environment, and nothing else, read in one place.

Importing torch takes seconds. It is imported on use here, by processes that have something to do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from osum.rendezvous import Meeting, failing_together

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

JOIN_TIMEOUT_S = 600.0
"""Longest wait for all processes to come, seconds: machines of a cluster do not read their packages equally fast."""
EXCHANGE_TIMEOUT_S = 1800.0
"""Longest wait in any exchange with other processes, seconds; in training the watchdog is quicker."""


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
        import torch

        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            import torch.distributed as td

            td.barrier()


def here() -> World:
    """Return the place of this process as its environment says, before it joins the others."""
    rank, size, local_rank = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return World(int(rank or 0), int(size or 1), int(local_rank or 0))


def launch(module: str, argv: Sequence[str], num_procs: int) -> None:
    """Become a torchrun of `num_procs` processes `python -m module argv`; return if this is one of several, or enough.

    torchrun and its processes import torch before they can know that there is nothing to do: find out before.
    """
    if num_procs == 1 or "WORLD_SIZE" in os.environ:
        return
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_procs)]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", module, *argv])


def meeting() -> Meeting:
    """Return where the processes of this job meet, as the environment says. ValueError if it does not."""
    place = here()
    try:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    except (KeyError, ValueError):
        raise ValueError(
            f"WORLD_SIZE is {place.size}, but MASTER_ADDR and MASTER_PORT do not say where the processes meet; start "
            "them with torchrun or --num_procs, or unset WORLD_SIZE"
        ) from None
    # torchrun keeps the store itself, and says so.
    serves = place.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    return Meeting(host, port, place.rank, place.size, serves)


@contextmanager
def world(join_timeout_s: float = JOIN_TIMEOUT_S) -> Iterator[World]:
    """Join the process group that torchrun describes; a single process without torchrun needs none.

    TimeoutError naming the ranks that did not come. If the body fails on one process, the others end as well.
    """
    import torch
    import torch.distributed as td

    place = here()
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    if place.size == 1:
        yield place
        return
    met = meeting()
    store = met.join(join_timeout_s)
    backend, timeout = "nccl" if place.device.type == "cuda" else "gloo", timedelta(seconds=EXCHANGE_TIMEOUT_S)
    store.set_timeout(timeout)
    td.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=timeout)
    try:
        with failing_together(met, store):
            yield place
    finally:
        td.destroy_process_group()


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Return the elementwise sum over all processes (the tensor itself when there is one)."""
    import torch.distributed as td

    if not td.is_initialized():
        return values
    total = values.to(here().device)  # NCCL takes nothing that is on the CPU
    td.all_reduce(total)
    return total.to(values.device)


def all_reduce_max(values: Sequence[float]) -> list[float]:
    """Return the elementwise maximum over all processes."""
    import torch
    import torch.distributed as td

    if not td.is_initialized():
        return list(values)
    largest = torch.tensor(values, dtype=torch.float64, device=here().device)
    td.all_reduce(largest, td.ReduceOp.MAX)
    return largest.tolist()


def gather(value: T) -> list[T]:
    """Return what each process passed, in the order of ranks, on all of them."""
    import torch.distributed as td

    if not td.is_initialized():
        return [value]
    values: list[T | None] = [None] * td.get_world_size()
    td.all_gather_object(values, value)
    return values


def take_from_main(tensor: torch.Tensor) -> None:
    """Overwrite a tensor with that of the main process."""
    import torch.distributed as td

    if td.is_initialized():
        td.broadcast(tensor, src=0)


def agree(value: T) -> T:
    """Return what the main process passed, on all processes. Folders on a network look different for a while."""
    import torch.distributed as td

    if not td.is_initialized():
        return value
    values = [value]
    td.broadcast_object_list(values)
    return values[0]
