"""Swapped audio: the control that shows whether a model listens.

Each utterance is decoded with the audio of another one. A model that listens then scores at chance on labels (the
sum of squared class shares) and above 80 % WER on transcripts; one that guesses from the prompt scores as before.
"""

from __future__ import annotations

import numpy as np


def derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation (n,) int64 without a fixed point: utterance i hears the audio of utterance result[i].

    It is one random cycle (Sattolo's shuffle), so no draw is ever rejected. ValueError when n is 1: a lone utterance
    has no other audio to hear.
    """
    if n == 1:
        raise ValueError("one utterance alone has no other audio to swap with; decode at least 2 utterances of a task")
    order = np.arange(n, dtype=np.int64)
    for last in range(n - 1, 0, -1):
        other = int(rng.integers(last))
        order[[last, other]] = order[[other, last]]
    return order
