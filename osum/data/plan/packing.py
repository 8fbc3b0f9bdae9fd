"""Filling packs under two budgets, and packs into complete global batches. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NUM_OPEN = 16
"""Packs kept open: more fill better, and spread neighbours in the order over more packs."""


@dataclass
class _Open:
    tokens_left: int
    samples_left: int
    items: list[int] = field(default_factory=list)

    def put(self, item: int, tokens: int, samples: int) -> None:
        self.items.append(item)
        self.tokens_left -= tokens
        self.samples_left -= samples


def first_fit(tokens: np.ndarray, samples: np.ndarray, max_tokens: int, max_samples: int) -> list[list[int]]:
    """(n,) decoder positions and (n,) audio samples -> packs of item numbers that keep both budgets.

    Items are placed in the given order into the oldest open pack with room; when none of NUM_OPEN has room, the
    oldest is closed: it was offered most, and items stay near their place in the order. Each item alone must fit.
    """
    assert len(tokens) == 0 or (tokens.max() <= max_tokens and samples.max() <= max_samples)
    packs: list[list[int]] = []
    opened: list[_Open] = []
    for item, (need, audio) in enumerate(zip(tokens.tolist(), samples.tolist(), strict=True)):
        pack = next((p for p in opened if p.tokens_left >= need and p.samples_left >= audio), None)
        if pack is None:
            if len(opened) == NUM_OPEN:
                packs.append(opened.pop(0).items)
            pack = _Open(max_tokens, max_samples)
            opened.append(pack)
        pack.put(item, need, audio)
    return packs + [p.items for p in opened]


def complete(packs: list[list[int]], multiple: int) -> list[list[int]]:
    """Return packs whose number is a multiple, by splitting those with most items among the last two batches.

    Packs of one item can't be split: then empty packs complete the last batch.
    """
    packs = list(packs)
    first = max(0, len(packs) - 2 * multiple)
    while len(packs) % multiple:
        largest = max(range(first, len(packs)), key=lambda p: len(packs[p]))
        items = packs[largest]
        half = (len(items) + 1) // 2
        packs[largest] = items[:half]
        packs.append(items[half:])
    return packs
