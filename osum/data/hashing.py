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


class SeenHashes:
    """Which of many hashes have come before, at 8 bytes each: sorted arrays, merged so that there are few of them."""

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """(n,) uint64 -> (n,) bool: whether it is the first of its kind, in all calls together."""
        is_new = np.zeros(len(hashes), dtype=bool)
        is_new[np.unique(hashes, return_index=True)[1]] = True
        for known in self._sorted:
            places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            is_new &= known[places] != hashes
        added = np.sort(hashes[is_new])
        while self._sorted and len(self._sorted[-1]) <= len(added):
            added = np.sort(np.concatenate([self._sorted.pop(), added]), kind="stable")
        if len(added):
            self._sorted.append(added)
        return is_new
