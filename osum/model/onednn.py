"""Linear layers through oneDNN on the CPU: on processors for which MKL has no AVX-512 code, twice as fast in float32.

PyTorch itself takes MKL for float32 products. The operator is the one that torch.compile puts into compiled models.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OnednnLinear(nn.Linear):
    """A linear layer for inference; where gradients may be wanted it is the ordinary one."""

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if torch.is_grad_enabled() or hidden.dtype != torch.float32:
            return super().forward(hidden)
        return torch.ops.mkldnn._linear_pointwise(hidden, self.weight, self.bias, "none", [], "")


def use_onednn(model: nn.Module) -> None:
    """Turn the float32 linear layers of a model on the CPU into oneDNN's, in place; parameters stay as they are."""
    if not torch.backends.mkldnn.is_available():
        return
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.dtype == torch.float32 and module.weight.device.type == "cpu":
            module.__class__ = OnednnLinear
