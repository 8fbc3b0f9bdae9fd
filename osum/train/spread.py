"""Over how many directions the vectors that a module gives are spread.

Few, where an adaptor has collapsed: to the language model all audio is nearly alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from osum import dist


class Spread:
    """Sums over vectors of one width, reduced over ranks only when they are read."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        """(H + 1, H + 1) products of the vectors, each with a one behind it: the last row sums them and counts them."""

    def add(self, vectors: Tensor) -> None:
        """Add (L, H) vectors."""
        extended = nn.functional.pad(vectors.detach().double(), (0, 1), value=1.0)
        products = extended.T @ extended
        self._sums = products if self._sums is None else self._sums + products

    def effective_rank(self) -> float:
        """Return exp of the entropy of the shares that the principal components have in the variance, over all ranks.

        After Roy and Vetterli, The effective rank, EUSIPCO 2007, with variances for singular values. From 1 to H; 0 if
        all vectors are equal or there are none, NaN if some are not finite.
        """
        if self._sums is None:
            return 0.0
        sums = dist.all_reduce_sum(self._sums)
        mean = sums[-1, :-1] / sums[-1, -1]
        covariance = sums[:-1, :-1] / sums[-1, -1] - mean[:, None] * mean
        if not covariance.isfinite().all():
            return float("nan")
        variances = torch.linalg.eigvalsh(covariance).clamp(min=0.0)
        total = variances.sum()
        return float(torch.special.entr(variances / total).sum().exp()) if total > 0 else 0.0


@contextmanager
def observing(module: nn.Module) -> Iterator[Spread]:
    """Add the packed vectors that a module gives, first of its results, while the context is open."""
    spread = Spread()
    handle = module.register_forward_hook(lambda _module, _inputs, results: spread.add(results[0]))
    try:
        yield spread
    finally:
        handle.remove()
