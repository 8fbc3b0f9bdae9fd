"""Keyed randomness: the key decides, and nothing else."""

from osum.rng import rng_for


def test_the_same_key_gives_the_same_numbers_everywhere():
    assert rng_for(0, 1, "utt").integers(0, 1000, 5).tolist() == [908, 479, 919, 865, 825]


def test_every_part_of_the_key_counts_and_parts_do_not_run_together():
    keys = [(0, 1, "utt"), (1, 1, "utt"), (0, 2, "utt"), (0, 1, "utu"), (0, 11), (0, 1, 1), ("a", "bc"), ("ab", "c")]
    draws = {tuple(rng_for(*key).integers(0, 2**62, 2)) for key in keys}
    assert len(draws) == len(keys)


def test_generators_of_two_utterances_do_not_disturb_each_other():
    first, alone = rng_for(7, "a"), rng_for(7, "a")
    rng_for(7, "b").normal(size=100)
    assert first.normal() == alone.normal()
