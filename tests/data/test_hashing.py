import numpy as np

from osum.data.hashing import mix, salt, uniform


def test_hashes_are_fixed_for_good():
    assert int(salt("task", 1, 2)) == int(salt("task", 1, 2)) != int(salt("task", 12))
    # Published outputs of SplitMix64 seeded with 1234567.
    states = np.uint64(1234567) + np.arange(2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix(states, np.uint64(0)).tolist() == [6457827717110365317, 3203168211198807973]


def test_uniforms_are_uniform_and_below_one():
    draws = uniform(mix(np.arange(100_000, dtype=np.uint64), salt("x")))
    np.testing.assert_allclose(np.histogram(draws, bins=10, range=(0, 1))[0] / 100_000, 0.1, atol=0.005)
    assert uniform(np.array([2**64 - 1], dtype=np.uint64))[0] < 1.0
