from dataclasses import replace

import numpy as np
import pytest

from osum.data import overview


@pytest.fixture
def index(make_index, toy):
    made = [
        replace(u, num_samples=16_000 + 1_600 * i, speaker=f"s{i % 3}" if i else None) for i, u in enumerate(toy(10))
    ]
    return make_index(made)


def test_hours_are_counted_over_all_rows(index):
    found = overview.hours(index)
    total = sum(index.rows["num_samples"]) / 16_000 / 3_600
    assert found["corpus"] == {"toy": (10, pytest.approx(total))}
    assert {name: count for name, (count, _) in found["task"].items()} == {"asr": 10, "ser": 5, "sgc": 10}
    # every second utterance, the longer ones, is Chinese and has an emotion
    assert found["language"]["zh"] == found["task"]["ser"] == (5, pytest.approx(5 * 1.5 / 3_600))


def test_labels_and_speakers_are_counted_over_all_rows(index):
    assert overview.labels(index) == {"gender": {"male": 5, "female": 5}, "emotion": {"happy": 5}}
    assert overview.speakers(index) == {"toy": (3, 1)}


def test_labels_that_the_header_lacks_are_a_damage(index):
    index.header.label_sets.pop()
    with pytest.raises(ValueError, match="has labels that the header lacks"):
        overview.labels(index)


def test_an_index_of_version_1_says_that_it_has_no_labels(index):
    index.header = replace(index.header, version=1)
    assert overview.labels(index) == overview.speakers(index) == {}
    assert "of version 1, which lacks them; make it again" in overview.render(index, overview.sample(index, 100))


def test_texts_come_from_a_sample(index):
    every = overview.sample(index, 100)
    assert every.num_rows == 10 and every.text_lens == 10 * [1]
    assert overview.sample(index, 3).num_rows == 3


def test_a_damaged_utterance_is_counted(index):
    with open(index.folder / index.header.shards[0], "r+b") as tar:
        tar.seek(int(index.rows[0]["json_offset"]))
        tar.write(b"\xff")
    assert overview.sample(index, 100).num_unreadable == 1
    assert "from all utterances, 1 of them unreadable" in overview.render(index, overview.sample(index, 100))


@pytest.mark.parametrize(
    ("values", "whole", "step", "counts"),
    [
        ([0.0, 0.1, 1.99, 2.0, 29.9], False, 2.0, {0: 3, 1: 1, 14: 1}),
        ([1, 1, 3], True, 1.0, {1: 2, 3: 1}),
        ([0.004], False, 0.0005, {8: 1}),
        ([], False, 0.1, {}),
    ],
)
def test_bins_are_round_and_hold_everything(values, whole, step, counts):
    found, edges = overview.histogram(values, whole)
    np.testing.assert_allclose(np.diff(edges), step)
    assert {bin_: int(count) for bin_, count in enumerate(found) if count} == counts
    assert not values or (edges[0] <= min(values) and max(values) < edges[-1])


def test_the_text_holds_every_count(index):
    text = overview.render(index, overview.sample(index, 100))
    assert "train: 10 utterances, 0.00 h, 2 files" in text
    assert "gender  utterances   share\nfemale           5  50.0 %" in text
    bars = text[text.index("duration, s") : text.index("transcript")].splitlines()
    assert sum(int(line.split()[-1]) for line in bars[1:] if "|" in line) == 10
