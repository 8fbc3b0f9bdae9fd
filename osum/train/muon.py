"""Muon: momentum whose update of a weight matrix is orthogonalised (K. Jordan et al., 2024).

The same as torch.optim.Muon with `adjust_lr_fn="match_rms_adamw"`, but for two things. torch multiplies in bfloat16
everywhere, which costs a CPU without such instructions twenty times as much as float32; here only GPUs do. And matrices
of one shape are orthogonalised together, each process of a job taking its share of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, distributed

from osum import dist

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the quintic that is iterated; they trade exactness for speed, singular values end between about 0.5 and 1.5."""
NUM_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; for matrices only."""

    def __init__(self, params: Iterable[dict[str, Any]], lr: float) -> None:
        """Groups may have their own `lr` and `weight_decay`. ValueError for a parameter that is no matrix."""
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})
        wrong = next((p for group in self.param_groups for p in group["params"] if p.ndim != 2), None)
        if wrong is not None:
            raise ValueError(f"Muon trains matrices; a parameter has the shape {tuple(wrong.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update the parameters that have a gradient."""
        assert closure is None
        moved = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        updates = _orthogonalise_together([self._momentum(p) for p, _ in moved])
        for (parameter, group), update in zip(moved, updates, strict=True):
            # As large as AdamW's update, so that both share one scale of rates (arXiv 2502.16982, section 2.2).
            rate = group["lr"] * 0.2 * max(parameter.shape) ** 0.5
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return parameter.grad.lerp(state["momentum_buffer"].lerp_(parameter.grad, 1 - MOMENTUM), MOMENTUM)


def _orthogonalise_together(momenta: list[Tensor]) -> list[Tensor]:
    """Orthogonalise matrices that all processes hold alike, each of them its share; all get the same result."""
    if not momenta:
        return []
    here, count = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    # All in one tensor, for one exchange: waiting for each other costs more than what is sent.
    flat = torch.zeros(sum(m.numel() for m in momenta), dtype=momenta[0].dtype, device=momenta[0].device)
    updates = _parts(flat, momenta)
    largest_first = sorted(range(len(momenta)), key=lambda n: (-momenta[n].numel(), sorted(momenta[n].shape)))
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for n in largest_first[here::count]:
        by_shape.setdefault(tuple(sorted(momenta[n].shape)), []).append(n)
    for numbers in by_shape.values():
        found = orthogonalise(torch.stack([_wide(momenta[n]) for n in numbers]))
        for n, update in zip(numbers, found, strict=True):
            _wide(updates[n]).copy_(update)
    return _parts(dist.all_reduce_sum(flat), momenta)


def _parts(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    return [part.view_as(m) for part, m in zip(flat.split([m.numel() for m in like]), like, strict=True)]


def _wide(matrix: Tensor) -> Tensor:
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def orthogonalise(matrices: Tensor) -> Tensor:
    """(n, rows, columns) -> U Vᵀ of the singular value decomposition of each, about, by Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if is_tall else x).to(matrices.dtype)
