"""What is frozen needs no autograd state, and no dropout."""

from __future__ import annotations

import torch
from torch import nn


def is_trained(part: nn.Module) -> bool:
    """True if a parameter of the module is trained."""
    return any(p.requires_grad for p in part.parameters())


def graph_if(wanted: bool) -> torch.set_grad_enabled:
    """Return a context that records for the backward pass only if that is wanted, and was recorded before."""
    return torch.set_grad_enabled(wanted and torch.is_grad_enabled())
