"""What a worker is asked for, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from osum.data.examples import Dropped, Item
from osum.types import Batch


@dataclass(frozen=True)
class Pack:
    """What a worker is asked for; an empty list of items asks for a placeholder."""

    epoch: int
    items: list[Item]


@dataclass(frozen=True)
class Noted:
    """An utterance that was used although something went wrong."""

    key: str
    task: str
    remark: str


@dataclass(frozen=True)
class LoadedPack:
    """What a worker returns; utterances planned = those in the batch + those dropped."""

    batch: Batch
    dropped: list[Dropped]
    items: list[Item] = field(default_factory=list)
    """What was planned, as the process knows it that asked; workers leave it empty."""
    noted: list[Noted] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker sends: of its tensors only the audio as one, the others by value.

        Of a tensor it sends the number of an open file, for which the other process has to connect to it. That takes
        more than a millisecond each, in which training waits.
        """
        small = {k: v.numpy() for k, v in vars(self.batch).items() if isinstance(v, torch.Tensor) and k != "audio"}
        return {**vars(self), "batch": replace(self.batch, **small)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a worker has sent."""
        arrays = {k: torch.from_numpy(v) for k, v in vars(state["batch"]).items() if isinstance(v, np.ndarray)}
        self.__dict__.update(state, batch=replace(state["batch"], **arrays))

    def pin_memory(self) -> LoadedPack:
        """Return it with the batch in page-locked memory (called by torch's DataLoader)."""
        return replace(self, batch=self.batch.pin_memory())
