import shutil

import pytest

from osum.data.store.index import Index
from osum.eval.requests import Request, plain, rows_of, swapped


@pytest.fixture
def test_set(shards_dir):
    return Index.open(shards_dir / "test")


def test_swapped_requests_hear_every_audio_once_and_never_their_own():
    rows = [4, 8, 15, 16, 23]
    asked = swapped(rows, "sgc", seed=1)
    assert [r.row for r in asked] == rows and sorted(r.audio_row for r in asked) == rows
    assert all(r.audio_row != r.row and r.task == "sgc" for r in asked)
    assert asked == swapped(rows, "sgc", seed=1) != swapped(rows, "sgc", seed=2)
    assert plain([4, 8], "asr") == [Request(4, "asr", 4), Request(8, "asr", 8)]


def test_one_utterance_can_not_be_swapped():
    with pytest.raises(ValueError, match=r"task sgc: 1 utterance\(s\) can't be swapped"):
        swapped([0], "sgc", seed=1)


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
