"""Utterances of different lengths on one time axis with zeros between them: convolutions without padding.

A convolution over a padded batch works for the longest utterance everywhere, and padding to the longest of a pack is
more than the audio itself. On one axis, a gap as wide as the kernel's reach keeps utterances apart. L = its length.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Timeline:
    """Where on the axis an utterance is and where a gap."""

    def __init__(self, real: Tensor) -> None:
        """`real` is (L,) bool, False in gaps."""
        self.real = real
        self.place = real.nonzero().squeeze(1)
        """(packed length,) position of each packed row on the axis."""

    @classmethod
    def of(cls, lens: Tensor, gap: int, multiple: int) -> Timeline:
        """Utterances of (B,) lengths, each followed by a gap and starting at a multiple of the total stride."""
        slot_lens = (lens + gap + multiple - 1).div(multiple, rounding_mode="floor") * multiple
        starts = slot_lens.cumsum(0) - slot_lens
        owner = torch.arange(len(lens), device=lens.device).repeat_interleave(slot_lens)
        position = torch.arange(len(owner), device=lens.device) - starts[owner]
        return cls(position < lens[owner])

    def spread(self, packed: Tensor) -> Tensor:
        """(packed length, D) -> (1, D, L), zeros in gaps."""
        spread = packed.new_zeros(len(self.real), packed.shape[1]).index_copy(0, self.place, packed)
        return spread.T[None]

    def gather(self, hidden: Tensor) -> Tensor:
        """(1, D, L) -> (packed length, D), whatever is in gaps."""
        return hidden[0].T.index_select(0, self.place)

    def clear(self, hidden: Tensor) -> Tensor:
        """(1, D, L) -> the same with zeros in gaps, as the next convolution needs it."""
        return hidden.masked_fill(~self.real, 0.0)

    def strided(self, stride: int) -> Timeline:
        """Return the axis after a convolution with this stride, of which every start must be a multiple."""
        return Timeline(self.real[::stride])
