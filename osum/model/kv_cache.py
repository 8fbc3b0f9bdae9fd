"""Keys and values of a language model while it writes: buffers in place, rows that give way to others.

Letters: B rows, L packed positions of all prefixes, T columns that a row uses (others are padded on the left), G heads
of keys and values, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from osum.model.packing import Packing
from osum.model.sharing import Sharing

GROWTH = 64
"""Columns that are added to a full cache: each time costs a copy, and what is not yet used costs memory."""


class KvCache:
    """Keys and values of all layers, (B, G, T, D) each, in buffers that grow seldom: a step writes in place.

    It stands where transformers' models expect a cache. The first pass of a model brings packed prefixes, which are
    stored padded on the left and given back as they came; each further pass brings one column.
    """

    def __init__(self, segments: Packing, sharing: Sharing | None = None) -> None:
        self._segments, self._sharing = segments, sharing
        self._column = segments.positions + (segments.max_len - segments.lens)[segments.segment_ids]
        self._pads = segments.max_len - segments.lens
        self._unused, self._used = 0, segments.max_len
        """Columns that are padding in all rows, and how many there are with those."""
        self._layers: list[list[Tensor]] = []

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Store what a layer computed; return all that its queries may attend to.

        Packed (1, G, L, D) first, or of the positions that are computed; then (B, G, 1, D) for the column that
        `add_column` made.
        """
        if layer == len(self._layers):
            self._layers.append([self._pad_left(keys[0]), self._pad_left(values[0])])
            return keys, values
        for stored, new in zip(self._layers[layer], (keys, values), strict=True):
            stored[:, :, self._used - 1] = new[:, :, 0]
        all_keys, all_values = self._layers[layer]
        return all_keys[:, :, self._unused : self._used], all_values[:, :, self._unused : self._used]

    def add_column(self) -> Tensor | None:
        """Make room for one token of every row; return the mask (B, 1, 1, T) of real positions, None if all are."""
        self._unused = int(self._pads.min())
        if self._used == self._layers[0][0].shape[2]:
            self._pad(-self._unused, GROWTH)
        self._used += 1
        if int(self._pads.max()) == self._unused:
            return None
        columns = torch.arange(self._unused, self._used, device=self._pads.device)
        return (columns >= self._pads[:, None])[:, None, None]

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order."""
        self._pads = self._pads[rows]
        self._change(lambda stored: stored.index_select(0, rows))

    def put(self, row: int, other: KvCache, theirs: int) -> None:
        """Give the place of a row to one of another cache."""
        length = other._used - int(other._pads[theirs])
        if length > self._used:
            self._pad(length - self._used, 0)
        start = self._used - length
        self._pads[row] = start
        for mine, of_other in zip(self._layers, other._layers, strict=True):
            for stored, new in zip(mine, of_other, strict=True):
                stored[row, :, :start] = 0.0  # what is left there is masked, but would count if it were not finite
                stored[row, :, start : self._used] = new[theirs, :, other._used - length : other._used]

    def _pad(self, left: int, right: int) -> None:
        """Add columns that are not used, or drop some if the number is negative."""
        self._change(lambda stored: pad(stored, (0, 0, left, right)))
        self._pads, self._used = self._pads + left, self._used + left
        self._unused = 0

    def _change(self, change: Callable[[Tensor], Tensor]) -> None:
        for layer in self._layers:
            for i in range(2):  # one tensor at a time: old and new of all layers would be twice the memory
                layer[i] = change(layer[i])

    def _pad_left(self, packed: Tensor) -> Tensor:
        """(G, L, D), or of the positions that are computed, -> (B, G, T + room, D), zeros where nothing is."""
        if self._sharing is not None:
            packed = packed.index_select(1, self._sharing.source)
        heads, _, width = packed.shape
        padded = packed.new_zeros(self._segments.num_segments, heads, self._used + GROWTH, width)
        padded[self._segments.segment_ids, :, self._column] = packed.transpose(0, 1)
        return padded
