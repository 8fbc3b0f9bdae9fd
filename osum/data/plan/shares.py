"""Which task an utterance serves: drawn so that the shares over all utterances follow the weights. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NUM_ITERATIONS = 200


@dataclass(frozen=True)
class TaskMix:
    """With which probability a row serves each of the tasks that it can. M task sets, K tasks."""

    patterns: np.ndarray
    """(M,) uint64 task sets, ascending; bit k stands for task k."""
    probabilities: np.ndarray
    """(M, K) float64; each row sums to 1."""

    @classmethod
    def fit(cls, patterns: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> TaskMix:
        """(M,) ascending task sets, (M,) rows with each and (K,) weights -> the mix that follows the weights."""
        return cls(patterns, probabilities(in_sets(patterns, len(weights)), counts, weights))

    def shares(self, counts: np.ndarray) -> np.ndarray:
        """(M,) rows with each task set -> (K,) share of each task among what is drawn for them."""
        return counts @ self.probabilities / max(counts.sum(), 1e-300)

    def of(self, sets: np.ndarray) -> np.ndarray:
        """(n,) uint64 tasks that a row can serve -> (n, K) probability of each."""
        return self.probabilities[np.searchsorted(self.patterns, sets)]

    def draw(self, sets: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """(n,) uint64 tasks that a row can serve and (n,) draws in [0, 1) -> (n,) task numbers.

        A task of weight 0 is drawn only for rows that serve nothing else.
        """
        cumulative = self.probabilities.cumsum(axis=1)
        # The last task of a set must catch every draw, whatever the rounding of the sums.
        cumulative /= cumulative[:, -1:]
        pattern = np.searchsorted(self.patterns, sets)
        tasks = np.zeros(len(sets), dtype=np.int64)
        for threshold in cumulative.T[:-1]:
            tasks += uniforms >= threshold[pattern]
        return tasks


def task_sets(fits: np.ndarray) -> np.ndarray:
    """(n, K) bool -> (n,) uint64 with bit k for task k; K is at most 64."""
    assert fits.shape[1] <= 64, fits.shape
    num_bytes = -(-fits.shape[1] // 8)
    whole_bytes = np.zeros((len(fits), 8 * num_bytes), dtype=bool)
    whole_bytes[:, : fits.shape[1]] = fits
    # All rows at once: they are too short to be packed one by one.
    packed = np.packbits(whole_bytes.reshape(-1), bitorder="little").reshape(len(fits), num_bytes)
    sets = np.zeros(len(fits), dtype=np.uint64)
    for byte in range(num_bytes):
        sets |= packed[:, byte].astype(np.uint64) << np.uint64(8 * byte)
    return sets


def in_sets(sets: np.ndarray, num_tasks: int) -> np.ndarray:
    """(n,) uint64 -> (n, K) bool: which tasks are in a set."""
    return (sets[:, None] & (np.uint64(1) << np.arange(num_tasks, dtype=np.uint64))) > 0


def probabilities(patterns: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(M, K) bool distinct task sets and (M,) rows with each -> (M, K) probability of each task in each set.

    Iterative proportional fitting: the sums over rows approach the shares that the weights ask for as far as the sets
    allow; each row of the result sums to 1.
    """
    assert patterns.any(axis=1).all(), "a row that serves no task"
    wanted = np.where(patterns.any(axis=0), weights, 0.0)
    hopeless = ~(patterns & (wanted > 0)).any(axis=1)
    table = np.where(patterns, np.maximum(wanted, hopeless[:, None]), 0.0) * 1.0
    wanted = np.where(wanted > 0, wanted / max(wanted.sum(), 1e-300), 0.0) * counts.sum()
    for _ in range(NUM_ITERATIONS):
        table *= (counts / table.sum(axis=1))[:, None]
        reached = table[~hopeless].sum(axis=0)
        table[~hopeless] *= np.divide(wanted, reached, out=np.ones_like(wanted), where=(reached > 0) & (wanted > 0))
    return table / table.sum(axis=1, keepdims=True)
