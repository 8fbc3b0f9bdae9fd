from collections import Counter

from mini.voices import make_voices

SPLITS = ("train", "dev", "test")


def test_voices_are_balanced_and_many_enough():
    for split, count in (("train", 360), ("dev", 12), ("test", 12)):
        voices = make_voices(split, seed=0)
        assert len(voices) == len({v.name for v in voices}) == count
        assert set(Counter((v.gender, v.age) for v in voices).values()) == {count // 6}


def test_splits_share_no_speaker_and_no_base_variant():
    names = [v.name for split in SPLITS for v in make_voices(split, seed=0)]
    assert len(names) == len(set(names))
    train, dev, test = ({v.variant for v in make_voices(split, seed=0)} for split in SPLITS)
    assert not train & dev
    assert not train & test
    assert not dev & test


def test_voices_depend_on_the_seed_alone():
    assert make_voices("dev", seed=3) == make_voices("dev", seed=3)
    assert make_voices("dev", seed=3) != make_voices("dev", seed=4)


def test_only_the_old_tremble():
    for voice in make_voices("train", seed=0):
        assert (voice.tremor_depth > 0) == (voice.age == "old")
