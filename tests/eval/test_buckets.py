from osum.eval.buckets import length_buckets


def test_longest_first_bounded_by_the_padded_total():
    assert length_buckets([3, 9, 1, 5, 4, 1], max_total=12) == [[1], [3, 4], [0, 2, 5]]
    assert length_buckets([1, 1, 1, 1], max_total=3) == [[0, 1, 2], [3]]
    assert length_buckets([], 10) == []


def test_what_is_longer_than_the_bound_stands_alone():
    assert length_buckets([50, 2, 60], max_total=10) == [[2], [0], [1]]
