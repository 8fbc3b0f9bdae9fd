"""Packed sequences: utterances of different lengths one after another, and the way to a padded view and back."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class Packing:
    """Where each utterance of a packed tensor begins and ends. B segments, L = total length, T = longest.

    Linear layers and norms work on the packed (L, ...) form and never see padding; what must know the borders
    (convolutions, attention) pads, works, and packs again.
    """

    def __init__(self, lens: Tensor) -> None:
        self.lens = lens
        self.num_segments = lens.shape[0]
        self.max_len = int(lens.max())
        self.mask = torch.arange(self.max_len, device=lens.device) < lens[:, None]
        """(B, T) bool, True on real positions."""
        self.place = self.mask.flatten().nonzero().squeeze(1)
        """(L,) position of each packed row in the flattened padded form."""
        self.positions = self.place % self.max_len
        """(L,) position of each packed row inside its segment."""
        self.segment_ids = self.place // self.max_len
        """(L,) segment of each packed row."""
        self.is_full = self.place.shape[0] == self.mask.numel()
        """True if all segments are equally long: then padding is a reshape."""

    @cached_property
    def bounds(self) -> Tensor:
        """(B + 1,) int32: where each segment begins, and the last ends."""
        return torch.nn.functional.pad(self.lens.cumsum(0, dtype=torch.int32), (1, 0))

    def pad(self, packed: Tensor) -> Tensor:
        """(L, ...) -> (B, T, ...), zeros where nothing is."""
        rest = packed.shape[1:]
        if not self.is_full:
            packed = packed.new_zeros(self.mask.numel(), *rest).index_copy(0, self.place, packed)
        return packed.view(self.num_segments, self.max_len, *rest)

    def pack(self, padded: Tensor) -> Tensor:
        """(B, T, ...) -> (L, ...)."""
        flat = padded.reshape(-1, *padded.shape[2:])
        return flat if self.is_full else flat.index_select(0, self.place)
