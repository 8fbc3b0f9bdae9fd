"""How precisely a model computes. What is trained is float32 throughout; only products and frozen matrices are not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]


def halve(parameters: Iterable[nn.Parameter]) -> None:
    """Keep matrices as bfloat16; norms, biases and the feature extraction stay float32."""
    for parameter in parameters:
        if parameter.ndim > 1:
            parameter.data = parameter.data.bfloat16()


def widen(model: nn.Module) -> None:
    """Bring what must be float32 to it, whatever the files had: what is trained, norms and biases."""
    for parameter in model.parameters():
        if parameter.requires_grad or parameter.ndim == 1:
            parameter.data = parameter.data.float()


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context of all matrix products."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
