"""Batches of similar lengths: what is held together is bounded by its total, not by its number alone."""

from __future__ import annotations

from collections.abc import Sequence


def length_buckets(lens: Sequence[int], max_count: int, max_total: float) -> list[list[int]]:
    """Deal positions 0..n-1 out to batches, longest first.

    A batch holds at most `max_count`, and its number times its longest is at most `max_total`, unless it holds one.
    """
    buckets: list[list[int]] = []
    for place in sorted(range(len(lens)), key=lambda i: -lens[i]):
        last = buckets[-1] if buckets else []
        if last and len(last) < max_count and (len(last) + 1) * lens[last[0]] <= max_total:
            last.append(place)
        else:
            buckets.append([place])
    return buckets
