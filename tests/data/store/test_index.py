import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from osum.data.store import storage
from osum.data.store.index import ROW, ROWS_OF, Index, fingerprint, key_hash
from tests.data.foreign import open_below


@pytest.fixture
def index(make_index, toy):
    return make_index(toy(12), num_shards=3)


def test_rows_are_small_and_fixed():
    assert ROW.itemsize == 64 and ROWS_OF[1].itemsize == 52


def test_rows_give_back_what_was_written(index, toy):
    written = {u.key: u for u in toy(12)}
    assert len(index) == 12 and set(index.keys()) == set(written)
    assert index.header.corpora == ["toy"] and index.header.languages == ["en", "zh"]
    assert index.header.tasks == ["asr", "ser", "sgc"]
    for row in range(12):
        utterance = index.utterance(row)
        assert utterance == written[index.key(row)]
        assert index.audio(row).shape == (utterance.num_samples,)
        assert index.language(row) == utterance.language
        assert int(index.rows[row]["key_hash"]) == key_hash(utterance.key)
        served = [t for i, t in enumerate(index.header.tasks) if int(index.rows[row]["tasks"]) >> i & 1]
        assert served == sorted(utterance.tasks)


def test_a_moved_folder_still_works(index, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = index.folder.rename(tmp_path / "elsewhere/train")
    assert Index.open(moved).audio(0).dtype == np.float32


def test_pickling_opens_it_anew(index):
    index.audio(0)
    assert len(pickle.dumps(index)) < 1_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(index)).audio(3), index.audio(3))


def test_few_files_stay_open(make_index, toy, monkeypatch):
    monkeypatch.setattr(storage, "MAX_OPEN_FILES", 2)
    index = make_index(toy(10), num_shards=5)
    for row in (0, 9, 4, 2, 7, 0):
        index.audio(row)
        assert 1 <= len(open_below(index.folder, ".tar")) <= 2


def test_missing_and_foreign_files_are_named(index):
    with pytest.raises(FileNotFoundError, match="run the shard stage first"):
        Index.open(index.folder / "none")
    (index.folder / "index.npy").write_bytes(b"\x93NUMPY junk")
    with pytest.raises(ValueError, match=r"index\.npy: not a whole array"):
        Index.open(index.folder)


def test_an_index_of_other_rows_is_refused(index):
    np.save(index.folder / "index.npy", np.zeros(3, dtype=ROW))
    with pytest.raises(ValueError, match="do not fit together"):
        Index.open(index.folder)


def test_damage_names_shard_and_key(index):
    row = 2
    path = index.folder / index.header.shards[int(index.rows[row]["shard"])]
    with open(path, "r+b") as f:
        f.seek(int(index.rows[row]["json_offset"]))
        f.write(b"\xff")
    with pytest.raises(ValueError, match=rf"{path.name}: {index.key(row)}: damaged JSON"):
        index.utterance(row)
    os.truncate(path, int(index.rows[row]["audio_offset"]) + 10)
    with pytest.raises(ValueError, match="ends inside this member"):
        Index.open(index.folder).audio(row)


def test_a_tar_that_is_not_the_indexed_one_is_noticed(make_index, toy):
    ours = make_index(toy(4), num_shards=1, name="ours")
    others = [replace(u, key=u.key.replace("u", "v")) for u in toy(4)]
    theirs = make_index(others, num_shards=1, name="theirs")
    (theirs.folder / "shard_000000000.tar").rename(ours.folder / "shard_000000000.tar")
    with pytest.raises(ValueError, match="not the one that was indexed"):
        Index.open(ours.folder).utterance(0)


def test_an_index_of_version_1_is_read(index):
    utterance, audio = index.utterance(5), index.audio(5)
    old = index.rows[list(ROWS_OF[1].names)].astype(ROWS_OF[1])
    np.save(index.folder / "index.npy", old)
    header = json.loads((index.folder / "index.json").read_text())
    del header["label_sets"]
    header |= {"version": 1, "fingerprint": fingerprint(old, np.load(index.folder / "index_keys.npy"))}
    (index.folder / "index.json").write_text(json.dumps(header))
    again = Index.open(index.folder)
    assert again.utterance(5) == utterance
    np.testing.assert_array_equal(again.audio(5), audio)


def test_an_index_of_a_later_version_is_refused(index):
    header = json.loads((index.folder / "index.json").read_text())
    (index.folder / "index.json").write_text(json.dumps(header | {"version": 3}))
    with pytest.raises(ValueError, match=r"index\.json: .*version 3, not one of \[1, 2\]"):
        Index.open(index.folder)


def test_rows_of_another_version_than_the_header_says_are_refused(index):
    header = json.loads((index.folder / "index.json").read_text())
    (index.folder / "index.json").write_text(json.dumps(header | {"version": 1}))
    with pytest.raises(ValueError, match="do not fit together"):
        Index.open(index.folder)
