"""Losses as sums with counts: the trainer divides by the global count, so that no batch split changes the mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss

from osum.model.packing import Packing
from osum.text.template import IGNORED
from osum.types import Batch


@dataclass
class Loss:
    """What one forward pass returns; all sums in nats."""

    nll: Tensor
    """(B,) negative log-likelihood of each utterance's target tokens."""
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
    labels = batch.labels[at_target]
    logits = head(hidden[at_target]).float()
    token_nll = cross_entropy(logits, labels, reduction="none")
    owner = segments.segment_ids[at_target]
    zeros = token_nll.new_zeros(segments.num_segments)
    correct = (logits.detach().argmax(-1) == labels).to(token_nll.dtype)
    return Loss(
        nll=zeros.index_add(0, owner, token_nll),
        num_tokens=zeros.index_add(0, owner, torch.ones_like(token_nll)),
        ctc=token_nll.new_zeros(()) if ctc is None else ctc,
        num_correct=zeros.index_add(0, owner, correct),
        weighted_nll=token_nll.sum() if batch.weights is None else (token_nll * batch.weights[at_target]).sum(),
    )


def ctc_sum(logits: Tensor, frames: Packing, batch: Batch) -> Tensor:
    """Return the summed CTC loss of packed (E, U) unit logits; utterances without units or too short add nothing."""
    if batch.ctc_labels is None or batch.ctc_lens is None:
        return logits.sum() * 0.0
    log_probs = frames.pad(logits.float().log_softmax(-1)).transpose(0, 1)
    losses = ctc_loss(log_probs, batch.ctc_labels, frames.lens, batch.ctc_lens, reduction="none", zero_infinity=True)
    return losses.masked_fill(batch.ctc_lens == 0, 0.0).sum()
