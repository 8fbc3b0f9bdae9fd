"""Losses as sums with counts: the trainer divides by the global count, so that no batch split changes the mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from osum.model.linear_cross_entropy import linear_cross_entropy
from osum.model.packing import Packing
from osum.text.template import IGNORED
from osum.types import Batch


@dataclass
class Loss:
    """What one forward pass returns; all sums in nats."""

    nll: Tensor
    """(B,) negative log-likelihood of each utterance's target tokens; to report, without a gradient."""
    num_tokens: Tensor
    """(B,) target tokens of each utterance."""
    ctc: Tensor
    """() CTC loss summed over utterances; 0 without a CTC head."""
    num_correct: Tensor
    """(B,) target tokens whose most likely prediction is right."""
    weighted_nll: Tensor
    """() negative log-likelihood summed with the weights of the batch: what is minimised."""


def token_loss(hidden: Tensor, head: nn.Module, batch: Batch, segments: Packing, ctc: Tensor | None = None) -> Loss:
    """Return the loss of packed (L, H) hidden states beside a CTC loss; the head sees target positions only."""
    at_target = (batch.labels != IGNORED).nonzero().squeeze(1)
    ones = torch.ones(len(at_target), device=hidden.device)
    weights = ones if batch.weights is None else batch.weights[at_target]
    found = linear_cross_entropy(hidden.index_select(0, at_target), head, batch.labels[at_target], weights)
    owner = segments.segment_ids[at_target]
    zeros = ones.new_zeros(segments.num_segments)
    return Loss(
        nll=zeros.index_add(0, owner, found.nll),
        num_tokens=zeros.index_add(0, owner, ones),
        ctc=zeros.new_zeros(()) if ctc is None else ctc,
        num_correct=zeros.index_add(0, owner, found.is_correct.float()),
        weighted_nll=found.total,
    )


def ctc_sum(logits: Tensor, frames: Packing, batch: Batch) -> Tensor:
    """Return the summed CTC loss of packed (E, U) unit logits; utterances without units or too short add nothing."""
    if batch.ctc_labels is None or batch.ctc_lens is None:
        return logits.sum() * 0.0
    log_probs = frames.pad(logits.float().log_softmax(-1)).transpose(0, 1)
    losses = ctc_loss(log_probs, batch.ctc_labels, frames.lens, batch.ctc_lens, reduction="none", zero_infinity=True)
    return losses.masked_fill(batch.ctc_lens == 0, 0.0).sum()
