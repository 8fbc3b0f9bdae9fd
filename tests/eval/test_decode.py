import shutil

import numpy as np
import pytest
import torch

from osum.data.drops import Drops
from osum.data.index import Index
from osum.eval.decode import Decoder, rows_of

CPU = torch.device("cpu")


@pytest.fixture
def test_set(shards_dir):
    """Seven utterances."""
    return Index.open(shards_dir / "test")


@pytest.fixture
def damaged(shards_dir, tmp_path):
    """The same with the audio of row 2 overwritten."""
    shutil.copytree(shards_dir / "test", tmp_path / "test")
    index = Index.open(tmp_path / "test")
    with open(tmp_path / "test" / index.header.shards[int(index.rows[2]["shard"])], "r+b") as tar:
        tar.seek(int(index.rows[2]["audio_offset"]))
        tar.write(b"\0" * 2000)
    return index


@pytest.fixture
def decode(sulm, bpe, sulm_record):
    with torch.no_grad():
        sulm.adaptor.proj.weight.mul_(4)  # random models listen little

    def decode(index, rows, drops=None, batch_size=3, **options):
        decoder = Decoder(sulm, bpe, sulm_record.prompts, CPU, batch_size)
        return decoder.decode(index, "sgc", rows, 6, Drops() if drops is None else drops, **options)

    return decode


def test_hypotheses_are_in_the_order_of_the_rows_and_complete(decode, test_set, sulm_record):
    drops = Drops()
    found = decode(test_set, [5, 0, 3, 6, 1], drops)
    assert [h.key for h in found] == [test_set.key(row) for row in (5, 0, 3, 6, 1)]
    assert all(h.audio_key == h.key and h.task == "sgc" and h.utterance.key == h.key for h in found)
    assert (drops.read, drops.used, drops.num_dropped) == (5, 5, 0)
    first = {language: prompts[0] for language, prompts in sulm_record.prompts["sgc"].items()}
    assert all(h.prompt == first[h.utterance.language] for h in found)
    assert all(h.num_tokens == 6 if h.truncated else h.num_tokens < 6 for h in found)


def test_the_batch_size_changes_nothing(decode, test_set):
    assert decode(test_set, range(7), batch_size=1) == decode(test_set, range(7), batch_size=5)


def test_swapped_audio_is_anothers_and_heard(decode, test_set):
    plain, swapped = decode(test_set, range(7)), decode(test_set, range(7), swap_seed=1)
    assert [h.key for h in swapped] == [h.key for h in plain]
    assert all(h.audio_key != h.key for h in swapped)
    assert sorted(h.audio_key for h in swapped) == sorted(h.key for h in plain)
    assert [h.utterance for h in swapped] == [h.utterance for h in plain]
    assert [h.hypothesis for h in swapped] != [h.hypothesis for h in plain]
    # What is written belongs to the audio: the same prompt with the audio of u is what u itself got.
    by_key = {h.key: h for h in plain}
    same_prompt = [h for h in swapped if by_key[h.audio_key].prompt == h.prompt]
    assert same_prompt and all(h.hypothesis == by_key[h.audio_key].hypothesis for h in same_prompt)


def test_one_utterance_can_not_be_swapped(decode, test_set):
    with pytest.raises(ValueError, match=r"task sgc: 1 utterance\(s\) can't be swapped"):
        decode(test_set, [0], swap_seed=1)


@pytest.mark.parametrize("swap_seed", [None, 1])
def test_damaged_audio_is_counted_once_and_left_out(decode, damaged, swap_seed):
    drops = Drops()
    found = decode(damaged, range(7), drops, swap_seed=swap_seed)
    assert len(found) == drops.used and drops.read == 7
    reason = drops.reasons["corrupt"]
    assert reason.defect and damaged.key(2) in reason.ids
    assert damaged.key(2) not in {h.key for h in found} | {h.audio_key for h in found}


def test_audio_beyond_the_position_table_is_a_counted_filter(decode, test_set, monkeypatch):
    audio = test_set.audio
    monkeypatch.setattr(
        test_set, "audio", lambda row: np.zeros(480_001 if row == 4 else 399) if row > 3 else audio(row)
    )
    drops = Drops()
    assert len(decode(test_set, range(7), drops)) == 4
    assert {name: (len(r.ids), r.defect) for name, r in drops.reasons.items()} == {
        "too_long": (1, False),
        "too_short": (2, False),
    }


def test_rows_serve_by_index_or_by_target(test_set):
    assert rows_of(test_set, "sgc", None) == list(range(7))
    assert rows_of(test_set, "only:sgc", None) == list(range(7))
    assert rows_of(test_set, "ser", None) == [] and rows_of(test_set, "sap+sgc", None) == []
    assert rows_of(test_set, "asr", 3) == [0, 2, 4] and rows_of(test_set, "asr", 7) == list(range(7))


def test_a_damaged_row_is_not_hidden(test_set, shards_dir, tmp_path):
    shutil.copytree(shards_dir / "test", tmp_path / "test")
    place = test_set.rows[1]
    with open(tmp_path / "test" / test_set.header.shards[int(place["shard"])], "r+b") as tar:
        tar.seek(int(place["json_offset"]))
        tar.write(b"{oops")
    index = Index.open(tmp_path / "test")
    assert rows_of(index, "sgc", None) == rows_of(index, "only:sgc", None) == list(range(7))
