"""What decides the order of training, besides the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MAX_VISITS = 65_535
"""Visits of an utterance in an epoch, as a pack has room for their number."""


@dataclass
class PlanConfig:
    """How utterances are mixed and packed."""

    virtual_ranks: int = 2
    """Packs per optimizer step (G), whatever the number of processes; > 0."""
    max_tokens: int = 2048
    """Decoder positions per pack (prompt, speech, target); > 0."""
    max_audio_s: float = 120.0
    """Audio per pack, seconds; > 0."""
    task_weights: dict[str, float] = field(default_factory=dict)
    """Wanted share of each task among the draws, relative; a task that is not named has 1.

    Where the rows do not allow it, the log tells what is reached.
    """
    corpus_weights: dict[str, float] = field(default_factory=dict)
    """Visits per utterance and epoch by corpus, any positive number; a corpus that is not named has 1."""
    corpus_temperature: float = 1.0
    """T >= 1 evens corpora out: each has visits in proportion to (those by its weight)^(1/T), as many in all."""
    shuffle_block_shards: int = 64
    """Shards shuffled together, which bounds how many a virtual rank has open; > 0."""
    speeds: list[float] = field(default_factory=list)
    """Factors on the speed of the audio, such as 0.9, 1.0 and 1.1, of which each visit draws one; empty for none.

    Each from 0.5 to 2.0 and a multiple of 0.01. Audio is left as it is in tasks that ask for what speed changes
    (emotion, style, gender, age), and where it would no longer fit.
    """
    cost_per_s: float = 20.0
    """Cost of a second of audio in encoder and adaptor, in decoder positions: packs of a step cost the same; >= 0."""
    cost_per_s2: float = 0.166
    """The same of a squared second of one utterance, for the encoder's attention; >= 0."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        for name in ("virtual_ranks", "max_tokens", "max_audio_s", "shuffle_block_shards"):
            if not 0 < getattr(self, name) < math.inf:  # NaN is neither
                raise ValueError(f"plan.{name} is {getattr(self, name)}; it must be positive and finite")
        if not 1 <= self.corpus_temperature < math.inf:
            raise ValueError(f"plan.corpus_temperature is {self.corpus_temperature}; it must be at least 1 and finite")
        for name in ("cost_per_s", "cost_per_s2"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"plan.{name} is {getattr(self, name)}; it must be a number, and not negative")
        for key, weight in self.task_weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"plan.task_weights.{key} is {weight}; it must be a number, and not negative")
        for key, weight in self.corpus_weights.items():
            if not 0 <= weight <= MAX_VISITS:
                raise ValueError(f"plan.corpus_weights.{key} is {weight}; it must be from 0 to {MAX_VISITS}")
        for speed in self.speeds:
            if not 0.5 <= speed <= 2.0 or speed != round(100 * speed) / 100:
                raise ValueError(f"plan.speeds has {speed}; each must be a multiple of 0.01 from 0.5 to 2")
