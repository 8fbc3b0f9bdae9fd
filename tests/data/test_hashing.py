import numpy as np

from osum.data.hashing import SeenHashes, mix, salt, uniform


def test_hashes_are_fixed_for_good():
    assert int(salt("task", 1, 2)) == int(salt("task", 1, 2)) != int(salt("task", 12))
    # Published outputs of SplitMix64 seeded with 1234567.
    states = np.uint64(1234567) + np.arange(2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix(states, np.uint64(0)).tolist() == [6457827717110365317, 3203168211198807973]


def test_uniforms_are_uniform_and_below_one():
    draws = uniform(mix(np.arange(100_000, dtype=np.uint64), salt("x")))
    np.testing.assert_allclose(np.histogram(draws, bins=10, range=(0, 1))[0] / 100_000, 0.1, atol=0.005)
    assert uniform(np.array([2**64 - 1], dtype=np.uint64))[0] < 1.0


def test_what_has_come_before_is_known():
    rng, seen, known = np.random.default_rng(0), SeenHashes(), set()
    for size in (0, 1, 7, 100, 3, 0, 50, 1):
        hashes = rng.integers(0, 200, size, dtype=np.uint64)
        expected = []
        for one in hashes.tolist():
            expected.append(one not in known)
            known.add(one)
        assert seen.add(hashes).tolist() == expected


def test_few_arrays_are_searched():
    seen = SeenHashes()
    for start in range(0, 1_000, 10):
        assert seen.add(np.arange(start, start + 10, dtype=np.uint64)).all()
    assert len(seen._sorted) <= 7 and not seen.add(np.arange(1_000, dtype=np.uint64)).any()
