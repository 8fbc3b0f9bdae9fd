"""Dividing speakers."""

import pytest

from osum.data.corpora.splits import SplitConfig, check_speakers, draw

SPEAKERS = [f"s{n}" for n in range(20)]


def test_shares_and_disjointness() -> None:
    placed = draw(SPEAKERS, "a", SplitConfig(dev_fraction=0.1, test_fraction=0.2))
    assert [list(placed.values()).count(s) for s in ("train", "dev", "test")] == [14, 2, 4]
    assert set(placed) == set(SPEAKERS)


def test_the_draw_depends_on_the_seed_alone() -> None:
    cfg = SplitConfig(test_fraction=0.3)
    assert draw(SPEAKERS, "a", cfg) == draw(SPEAKERS[::-1] * 2, "a", cfg)
    assert draw(SPEAKERS, "a", cfg) != draw(SPEAKERS, "a", SplitConfig(test_fraction=0.3, seed=1))


def test_small_corpora_have_a_speaker_of_each_split_or_train_only() -> None:
    assert sorted(draw(SPEAKERS[:3], "a", SplitConfig()).values()) == ["dev", "test", "train"]
    assert set(draw(SPEAKERS[:2], "a", SplitConfig()).values()) == {"train"}
    assert set(draw(SPEAKERS, "a", SplitConfig(train_only=["a"])).values()) == {"train"}


def test_a_speaker_in_two_splits_is_named() -> None:
    check_speakers([("a", "s1", "train"), ("b", "s1", "test"), ("a", "s1", "train")])
    with pytest.raises(ValueError, match="speaker 's1' of corpus 'a' is in train and in test"):
        check_speakers([("a", "s1", "train"), ("a", "s1", "test")])


def test_fractions_must_leave_training_data() -> None:
    with pytest.raises(ValueError, match="sum to less than 1"):
        SplitConfig(dev_fraction=0.5, test_fraction=0.5)
