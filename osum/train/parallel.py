"""Several processes, one model: replicas whose gradients are averaged (DDP), or shards of it (FSDP2)."""

from __future__ import annotations

import gc
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from osum.dist import World
from osum.train.configs import Parallel, TrainConfig


def check(cfg: TrainConfig) -> None:
    """ValueError for options that FSDP2 does not go with."""
    if cfg.compute.parallel != "fsdp":
        return
    if cfg.optim.muon_lr is not None:
        raise ValueError("train.optim.muon_lr: Muon needs whole matrices; leave it out, or say compute.parallel ddp")
    if cfg.phases:
        raise ValueError(
            "train.phases: FSDP2 can't change what is trained; leave them out, or say compute.parallel ddp"
        )


def place(model: nn.Module, world: World, parallel: Parallel) -> nn.Module:
    """Bring the model to the device of this process: all of it, or its part of every parameter if asked to.

    A model has `blocks()`: the layers of its parts by name; they are gathered one at a time when they run. To be called
    before the optimizer is made.
    """
    if parallel == "fsdp" and world.size > 1:
        mesh = init_device_mesh(world.device.type, (world.size,))
        # Each layer goes to the device by itself and leaves a shard there: no device ever holds the whole model.
        for layers in model.blocks().values():
            for layer in layers:
                fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model.to(world.device)


def unshard(model: nn.Module) -> None:
    """Gather all parameters for good, to save or use the model as any other."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.unshard()


class Replica:
    """The model as this process runs it in training."""

    def __init__(self, model: nn.Module, world: World) -> None:
        self.model, self._world = model, world
        self._ddp: DistributedDataParallel | None = None
        self.renew()

    def renew(self) -> None:
        """Look again at which parameters are trained: only their gradients are exchanged."""
        if self._world.size == 1 or isinstance(self.model, FSDPModule):
            return
        # The hooks of the one before go with it, and it is part of a cycle.
        self._ddp = None
        gc.collect()
        # What is frozen, and all buffers, are the same everywhere from the start. Sending them would take time, and
        # would write to each process's copy of files that all of them share.
        frozen = [name for name, p in self.model.named_parameters() if not p.requires_grad]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self.model, frozen)
        self._ddp = DistributedDataParallel(self.model, gradient_as_bucket_view=True, broadcast_buffers=False)

    def run(self, *args: Any, exchanging: bool) -> Any:
        """Run the model forward; the backward pass exchanges gradients only if asked to (the last micro-batch)."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(exchanging)
        if self._ddp is None:
            return self.model(*args)
        self._ddp.require_backward_grad_sync = exchanging
        return self._ddp(*args)


def clip(model: nn.Module, max_norm: float) -> Tensor:
    """Scale the gradients down to a norm, of all shards together; return the norm () before."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
