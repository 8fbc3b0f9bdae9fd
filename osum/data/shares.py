"""Which task an utterance serves: drawn so that the shares over all utterances follow the weights. Pure."""

from __future__ import annotations

import numpy as np

NUM_ITERATIONS = 200


def draw_tasks(fits: np.ndarray, weights: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """(n, K) bool which tasks a row can serve, (K,) weights, (n,) draws in [0, 1) -> (n,) task numbers.

    Every row must serve one task at least. A task of weight 0 is drawn only for rows that serve nothing else.
    """
    if len(fits) == 0:
        return np.zeros(0, dtype=np.int64)
    bits = fits @ (np.uint64(1) << np.arange(fits.shape[1], dtype=np.uint64))
    _, first, pattern, counts = np.unique(bits, return_index=True, return_inverse=True, return_counts=True)
    cumulative = probabilities(fits[first], counts, weights).cumsum(axis=1)
    # The last task of a pattern must catch every draw, whatever the rounding of the sums.
    cumulative /= cumulative[:, -1:]
    return (uniforms[:, None] >= cumulative[pattern]).sum(axis=1)


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
