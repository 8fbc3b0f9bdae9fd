"""Vectorised randomness keyed by utterances: what `osum.rng` is for one, for millions at once."""

from __future__ import annotations

import hashlib

import numpy as np


def salt(*key: str | int) -> np.uint64:
    """Return 64 bits that depend on the key alone, for example ``salt("task", seed, epoch)``."""
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def mix(values: np.ndarray, salted: np.uint64) -> np.ndarray:
    """(n,) uint64 -> (n,) uint64, each scrambled with the salt (finalizer of SplitMix64)."""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + salted + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(bits: np.ndarray) -> np.ndarray:
    """(n,) uint64 -> (n,) float64 in [0, 1), from the upper 53 bits."""
    return (bits >> np.uint64(11)) * 2.0**-53
