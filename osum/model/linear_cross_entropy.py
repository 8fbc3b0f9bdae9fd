"""Output layer and cross-entropy in one, chunk by chunk: logits of all tokens never exist at the same time.

With 151,936 words the logits of 2,000 tokens are 1.2 GB in float32, and the plain formula holds several such tensors.
Here a chunk's gradients are taken while its logits are at hand, so that nothing is computed twice either.

Letters: n tokens, H width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

from osum.model.onednn import PLAIN, OnednnLinear, fits, product

MAX_LOGITS = 2**25
"""Logits at a time: 128 MiB in float32, which is 220 tokens of 151,936 words."""


@dataclass(frozen=True)
class TokenLoss:
    """Negative log-likelihoods in nats."""

    total: Tensor
    """() weighted sum: the only one with a gradient."""
    nll: Tensor
    """(n,) of each token."""
    is_correct: Tensor
    """(n,) bool: the label is the most likely word."""


def linear_cross_entropy(
    hidden: Tensor, head: nn.Module, labels: Tensor, weights: Tensor, max_logits: int = MAX_LOGITS
) -> TokenLoss:
    """(n, H) hidden states, (n,) labels in [0, V), (n,) weights -> the loss under an output layer H -> V.

    A gradient for the layer's weight is only computed if it is trained. What is no plain `nn.Linear` (LoRA, sharded)
    is called as it is, and once more in the backward pass.
    """
    rows = max(1, max_logits // getattr(head, "out_features", hidden.shape[1]))
    if type(head) not in PLAIN:
        return _recomputed(hidden, head, labels, weights, rows)
    inputs = (hidden, head.weight, head.bias)
    wanted = [torch.is_grad_enabled() and x is not None and x.requires_grad for x in inputs]
    multiply = product if type(head) is OnednnLinear and fits(hidden) else linear
    return TokenLoss(*_LinearCrossEntropy.apply(*inputs, labels, weights, rows, wanted, multiply))


def _recomputed(hidden: Tensor, head: nn.Module, labels: Tensor, weights: Tensor, rows: int) -> TokenLoss:
    def chunk(hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = head(hidden).float()
        return cross_entropy(logits, labels, reduction="none"), logits.argmax(-1) == labels

    chunks = zip(hidden.split(rows), labels.split(rows), strict=True)
    nll, is_correct = zip(*(checkpoint(chunk, *c, use_reentrant=False) for c in chunks), strict=True)
    token_nll = torch.cat(nll)
    return TokenLoss((token_nll * weights).sum(), token_nll.detach(), torch.cat(is_correct))


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient of the weighted sum is computed in the forward pass; the backward pass scales it."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        weights: Tensor,
        rows: int,
        wanted: list[bool],
        multiply: Callable[..., Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        inputs = (hidden, weight, bias)
        grads = [torch.zeros_like(x, dtype=torch.float32) if w else None for x, w in zip(inputs, wanted, strict=True)]
        nll = torch.zeros(len(labels), device=hidden.device)
        is_correct = torch.zeros_like(labels, dtype=torch.bool)
        with torch.autocast(device, enabled=False):
            cast = [None if x is None else x.to(dtype) for x in inputs]
            for start in range(0, len(labels), rows):
                at = slice(start, start + rows)
                logits = multiply(cast[0][at], *cast[1:]).float()
                nll[at], is_correct[at], error = _softmax_error(logits, labels[at])
                if any(wanted):
                    error = error.mul_(weights[at, None]).to(dtype)
                    if grads[0] is not None:
                        grads[0][at] = multiply(error, cast[1].t())
                    _add_gradients(grads, error, cast[0][at])
        ctx.grads = [None if g is None else g.to(x.dtype) for g, x in zip(grads, inputs, strict=True)]
        ctx.mark_non_differentiable(nll, is_correct)
        return (nll * weights).sum(), nll, is_correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        grads, ctx.grads = ctx.grads, None
        assert grads is not None, "a second backward pass through the same loss"
        # In place: the gradient of a large vocabulary should not exist twice.
        return *(None if g is None else g.mul_(grad) for g in grads), None, None, None, None, None


def _softmax_error(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(c, V) logits, overwritten -> nll (c,), is correct (c,), and softmax minus one-hot label (c, V)."""
    of_label = logits.gather(1, labels[:, None])
    peak, best = logits.max(-1, keepdim=True)
    shares = logits.sub_(peak).exp_()
    total = shares.sum(-1, keepdim=True)
    nll = (total.log() + peak - of_label).squeeze(1)
    error = shares.div_(total).scatter_add_(1, labels[:, None], -torch.ones_like(total))
    return nll, best.squeeze(1) == labels, error


def _add_gradients(grads: list[Tensor | None], error: Tensor, hidden: Tensor) -> None:
    """Add a chunk's part to the gradients of weight and bias."""
    _, of_weight, of_bias = grads
    if of_weight is not None and of_weight.dtype == error.dtype:
        of_weight.addmm_(error.t(), hidden)
    elif of_weight is not None:
        of_weight += error.t() @ hidden
    if of_bias is not None:
        of_bias += error.sum(0)
