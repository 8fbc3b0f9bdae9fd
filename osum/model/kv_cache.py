"""Keys and values of a language model while it writes: buffers in place, rows that can leave and join.

Letters: B rows, L packed positions of all prefixes, T columns of the cache (padded on the left), G heads of keys and
values, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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
        self._used = segments.max_len
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
        return all_keys[:, :, : self._used], all_values[:, :, : self._used]

    def add_column(self) -> Tensor | None:
        """Make room for one token of every row; return the mask (B, 1, 1, T) of real positions, None if all are."""
        self._used += 1
        capacity = self._layers[0][0].shape[2]
        if self._used > capacity:
            self._replace(lambda stored: torch.nn.functional.pad(stored, (0, 0, 0, GROWTH)))
        if not int(self._pads.max()):
            return None
        return (torch.arange(self._used, device=self._pads.device) >= self._pads[:, None])[:, None, None]

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order, without the columns that are padding in all of them."""
        self._pads = self._pads[rows]
        unused = int(self._pads.min())
        self._pads, self._used = self._pads - unused, self._used - unused
        self._replace(lambda stored: stored[:, :, unused:].index_select(0, rows))

    def join(self, other: KvCache) -> None:
        """Take in the rows of another, behind the own ones."""
        used = max(self._used, other._used)
        self._pads = torch.cat([cache._pads + used - cache._used for cache in (self, other)])
        for mine, theirs in zip(self._layers, other._layers, strict=True):
            for i in range(2):
                mine[i] = _stacked([mine[i][:, :, : self._used], theirs[i][:, :, : other._used]], used)
        self._used = used

    def _replace(self, change: Callable[[Tensor], Tensor]) -> None:
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


def _stacked(caches: list[Tensor], used: int) -> Tensor:
    """Put rows (B_i, G, T_i, D) on each other, as the last of so many used columns."""
    (_, heads, _, width), num_rows = caches[0].shape, sum(map(len, caches))
    stacked = caches[0].new_zeros(num_rows, heads, used + GROWTH, width)
    for rows, cache in zip(stacked.split([len(c) for c in caches]), caches, strict=True):
        rows[:, :, used - cache.shape[2] : used] = cache
    return stacked
