"""Batches of similar lengths, bounded by their padded total."""

from __future__ import annotations

from collections.abc import Sequence


def length_buckets(lens: Sequence[int], max_total: float) -> list[list[int]]:
    """Deal positions 0..n-1 out to batches, longest first.

    The number of a batch times its longest is at most `max_total`, unless it holds one.
    """
    buckets: list[list[int]] = []
    for place in sorted(range(len(lens)), key=lambda i: -lens[i]):
        last = buckets[-1] if buckets else []
        if last and (len(last) + 1) * lens[last[0]] <= max_total:
            last.append(place)
        else:
            buckets.append([place])
    return buckets
