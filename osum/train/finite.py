"""Losses and gradients must be numbers: the ranks agree once a step, and all name the utterances to blame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from osum import dist
from osum.model.losses import Loss
from osum.types import Batch


def detached(loss: Loss) -> Loss:
    """Return a loss that keeps no activations."""
    return Loss(**{field.name: getattr(loss, field.name).detach() for field in fields(loss)})


def check(step: int, batches: Sequence[Batch], losses: Sequence[Loss], grad_norm: Tensor) -> None:
    """ValueError, the same on all ranks, if a loss of any of them or the norm () of the gradient is not finite.

    `losses`: one for each micro-batch of this rank. Of a bad loss all ranks get the gradient, but it need not be bad.
    """
    totals = torch.stack([part for loss in losses for part in (loss.weighted_nll, loss.ctc)])
    num_bad = (~totals.isfinite()).sum() + (~grad_norm.isfinite()).sum()
    if not dist.all_reduce_sum(num_bad):
        return
    found = [named for of_rank in dist.gather(_bad(batches, losses)) for named in of_rank]
    if found:
        keys = [key for _, of_batch in found for key in of_batch]
        raise ValueError(f"step {step}: the loss is {found[0][0]}; look at utterances {keys[:8]}")
    raise ValueError(f"step {step}: the gradient is {grad_norm.item()}; lower optim.lr")


def _bad(batches: Sequence[Batch], losses: Sequence[Loss]) -> list[tuple[float, list[str]]]:
    """Return for each micro-batch whose loss is not finite what it is, and the utterances: all, if none is to blame."""
    found = []
    for batch, loss in zip(batches, losses, strict=True):
        value = float(loss.weighted_nll) + float(loss.ctc)
        if not math.isfinite(value):
            keys = [key for key, finite in zip(batch.keys, loss.nll.isfinite().tolist(), strict=True) if not finite]
            found.append((value, keys or list(batch.keys)))
    return found
