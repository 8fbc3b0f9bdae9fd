"""Randomness keyed by what it is for, so that workers, ranks and resharding change nothing."""

from __future__ import annotations

import hashlib

import numpy as np


def rng_for(*key: str | int) -> np.random.Generator:
    """Return a generator that depends on the key alone, for example ``rng_for(seed, epoch, utterance_key)``."""
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
