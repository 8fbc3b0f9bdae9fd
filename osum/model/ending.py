"""When a generated text is complete: stop tokens, the limit, and a guard against endless repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_PERIOD = 32
"""Longest sequence whose repetition is noticed, tokens."""


@dataclass(frozen=True)
class Generated:
    """What was written for one utterance."""

    ids: list[int]
    """Token ids, without the stop token."""
    truncated: bool
    """True if the limit ended it."""
    repeated: bool = False
    """True if the guard against repetition ended it."""


@dataclass(frozen=True)
class StopRules:
    """What ends a text besides its limit."""

    stop_ids: frozenset[int]
    """Tokens that end it and are no part of it."""
    max_repeats: int = 0
    """End it when its last tokens are so many copies of one sequence of up to 32 tokens; 0 never does."""

    def append(self, ids: list[int], token_id: int, limit: int) -> Generated | None:
        """Append a token to `ids` unless it is a stop token; return the text if it is complete now."""
        if token_id in self.stop_ids:
            return Generated(ids, truncated=False)
        ids.append(token_id)
        if self.max_repeats and ends_in_copies(ids, self.max_repeats):
            return Generated(ids, truncated=False, repeated=True)
        return Generated(ids, truncated=True) if len(ids) >= limit else None


def ends_in_copies(ids: Sequence[int], copies: int, max_period: int = MAX_PERIOD) -> bool:
    """Return whether the last tokens are so many copies of one sequence of at most `max_period` tokens."""
    for period in range(1, min(max_period, len(ids) // copies) + 1):
        tail = ids[len(ids) - period * copies :]
        if tail[period:] == tail[:-period]:
            return True
    return False
