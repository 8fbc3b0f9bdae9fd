"""Linear layers through oneDNN where it is faster in float32 than MKL, which PyTorch itself takes.

On CPUs with AVX-512, which MKL leaves unused on AMD's, that is everywhere; with AVX2 only, where rows are few, as when
texts are written, and where a product is large, as when audio is encoded. The operator is the one that torch.compile
puts into models with frozen weights; it knows no gradient, which is given here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FEW = range(16, 97)
"""Rows that oneDNN multiplies faster with AVX-512 where they stand on the right (tests/bench/products.py)."""
MANY = 128
"""More rows than these are left to MKL where there is AVX2 only, unless the product is large."""
LARGE = 2**29
"""Multiplications of a product that is worth the kernel that oneDNN makes for its length (tests/bench/products.py)."""


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., k) and (n, k), float32 on the CPU, of any strides -> (..., n), as `torch.nn.functional.linear`."""
    rows = left.reshape(-1, left.shape[-1])
    if len(right) >= FEW.stop and FEW.start <= len(rows) < FEW.stop:
        turned = multiply(right, rows)
        turned = turned if bias is None else turned.add_(bias[:, None])
        return turned.t().contiguous().view(*left.shape[:-1], -1)
    return multiply(left, right, bias)


def multiply(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `product`, but always with `left` on the left."""
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")


class OnednnLinear(nn.Linear):
    """A linear layer whose products, also those of the backward pass, are oneDNN's."""

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if not fits(hidden) or self.weight.dtype != torch.float32:
            return super().forward(hidden)
        # Training has many rows, and what a function of its own returns must not be a view.
        linear = _Linear.apply if torch.is_grad_enabled() else product
        return linear(hidden, self.weight, self.bias)


class Avx2Linear(nn.Linear):
    """A linear layer that takes oneDNN for few rows and for large products, without gradient; PyTorch's otherwise."""

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if torch.is_grad_enabled() or not fits(hidden) or self.weight.dtype != torch.float32:
            return super().forward(hidden)
        is_few, is_large = hidden.numel() <= MANY * self.in_features, hidden.numel() * self.out_features >= LARGE
        return multiply(hidden, self.weight, self.bias) if is_few or is_large else super().forward(hidden)


PLAIN = (nn.Linear, OnednnLinear, Avx2Linear)
"""Types of layers that are nothing but their weights."""


def fits(hidden: Tensor) -> bool:
    """Whether `product` takes this tensor: float32 on the CPU, and no autocast that would have it in another.

    Nor is a graph compiled: the compiler chooses its products itself, and has no code for these.
    """
    is_float32 = hidden.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return is_float32 and hidden.device.type == "cpu" and not torch.compiler.is_compiling()


def is_faster() -> bool:
    """Whether oneDNN multiplies any number of rows faster than MKL here.

    Where both have AVX2 only they are near each other, gradients included, and oneDNN makes a kernel for each new
    length, which small models notice (tests/bench/products.py).
    """
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


def use_onednn(model: nn.Module, layer: type[nn.Linear] = OnednnLinear) -> None:
    """Turn the float32 linear layers of a model on the CPU into these, in place; parameters stay as they are."""
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.dtype == torch.float32 and module.weight.device.type == "cpu":
            module.__class__ = layer


def use_fastest_products(model: nn.Module) -> None:
    """Give a model oneDNN's linear layers, those that fit this processor."""
    if torch.backends.mkldnn.is_available():
        use_onednn(model, OnednnLinear if is_faster() else Avx2Linear)


class _Linear(torch.autograd.Function):
    """`linear` with its gradient."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        of_hidden, of_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(hidden if of_weight else None, weight if of_hidden else None)
        return multiply(hidden, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        hidden, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        return (
            None if weight is None else multiply(grad, weight.t()),
            None if hidden is None else multiply(rows.t(), hidden.reshape(-1, hidden.shape[-1]).t()),
            rows.sum(0) if ctx.needs_input_grad[2] else None,
        )
