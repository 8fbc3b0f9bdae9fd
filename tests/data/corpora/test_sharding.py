import numpy as np
import pytest

from osum.data.corpora.sharding import shard_ends


def sizes(num_samples, shard_size, num_shards=None):
    ends = shard_ends(np.asarray(num_samples, dtype=np.uint32), shard_size, num_shards)
    return np.diff(ends, prepend=0).tolist()


def test_equal_utterances_are_dealt_equally():
    assert sizes(10 * [7], 4) == [3, 4, 3]
    assert sizes(10 * [7], 4, 1) == [10]
    assert sizes(2 * [7], 1000, 5) == [1, 1]
    assert sizes([7], 1000) == [1]


def test_shards_hold_the_same_seconds_not_the_same_number():
    assert sizes([*(6 * [1]), *(2 * [3])], 4) == [6, 2]


@pytest.mark.parametrize("seed", range(5))
def test_no_shard_is_further_from_the_mean_than_the_longest_utterance(seed):
    rng = np.random.default_rng(seed)
    # Two corpora one after another, of very different lengths.
    made = np.concatenate([16_000 * rng.gamma(2.0, mean / 2, 3_000) for mean in (1.5, 9.0)]).astype(np.uint32)
    ends = shard_ends(made, 100, None)
    spent = np.diff(np.cumsum(made, dtype=np.int64)[ends - 1], prepend=0)
    assert len(ends) == 60 and ends[-1] == 6_000
    assert np.abs(spent - made.sum(dtype=np.int64) / 60).max() <= made.max()


@pytest.mark.parametrize("made", [[1, 1, 100], [100, 1, 1], [1, 100, 1], [0, 0, 0], [0, 5, 0, 0, 9, 0]])
def test_no_shard_is_empty(made):
    for count in range(1, len(made) + 1):
        found = sizes(made, 1, count)
        assert len(found) == count and min(found) >= 1 and sum(found) == len(made)
