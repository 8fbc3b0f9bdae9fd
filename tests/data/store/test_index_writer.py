from dataclasses import replace

import numpy as np
import pytest

from osum.data.store import index_writer
from osum.data.store.index import Index, speaker_hash
from osum.data.store.index_writer import write
from osum.data.store.shards import Placed
from osum.types import Utterance

U = Utterance("u", "c", "en", "hi", 16_000)


def placed(*utterances):
    return [(i % 2, Placed(u, 512 * i, 100 + i, 10 * i, 9)) for i, u in enumerate(utterances)]


def test_names_are_numbered_in_their_order_whatever_came_first(tmp_path):
    made = placed(
        replace(U, key="你", corpus="z", language="zh", tasks=("ser", "asr")),
        replace(U, key="b", corpus="a", language="en", tasks=("asr", "asr")),
        replace(U, key="c", corpus="m", language="de", tasks=()),
    )
    header = write(tmp_path, ["0.tar", "1.tar"], iter(made))
    assert (header.tasks, header.corpora, header.languages) == (["asr", "ser"], ["a", "m", "z"], ["de", "en", "zh"])
    index = Index.open(tmp_path)
    assert index.keys() == ["你", "b", "c"] and [index.find(key) for key in ("你", "b", "c")] == [0, 1, 2]
    assert index.rows["tasks"].tolist() == [3, 1, 0]
    assert index.rows["corpus"].tolist() == [2, 0, 1] and index.rows["language"].tolist() == [2, 1, 0]
    assert index.rows["shard"].tolist() == [0, 1, 0] and index.rows["audio_offset"].tolist() == [0, 512, 1024]


def test_labels_are_one_number_and_speakers_a_hash(tmp_path):
    made = placed(
        replace(U, key="a", speaker="s", labels={"gender": "male", "emotion": "happy"}),
        replace(U, key="b", speaker="s", corpus="other", labels={"answer": "free text"}),
        replace(U, key="c", labels={"emotion": "happy", "answer": "another", "gender": "male"}),
        replace(U, key="d", speaker="s", labels={"emotion": "angry"}),
    )
    header = write(tmp_path, ["0.tar", "1.tar"], made)
    assert header.label_sets == [{}, {"emotion": "angry"}, {"emotion": "happy", "gender": "male"}]
    rows = Index.open(tmp_path).rows
    assert rows["labels"].tolist() == [2, 0, 2, 1]
    known, elsewhere = speaker_hash("c", "s"), speaker_hash("other", "s")
    assert rows["speaker"].tolist() == [known, elsewhere, 0, known] and known != elsewhere


def test_nothing_is_left_of_an_index_that_is_refused(tmp_path):
    with pytest.raises(ValueError, match="comes twice"):
        write(tmp_path, ["0.tar"], placed(U, U))
    assert not list(tmp_path.iterdir())


def test_chunks_change_nothing(tmp_path, monkeypatch):
    made = placed(*(replace(U, key=f"u{i}", corpus=f"c{i % 3}", labels={"style": f"s{9 - i}"}) for i in range(10)))
    for folder, rows in (("one", 100), ("many", 3)):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(index_writer, "ROWS_PER_CHUNK", rows)
        write(tmp_path / folder, ["0.tar", "1.tar"], made)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes()


def test_a_key_that_comes_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="key 'u' comes twice"):
        write(tmp_path, ["0.tar"], placed(U, replace(U, key="v"), U))


def test_keys_that_only_share_a_hash_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(index_writer, "key_hash", lambda key: 7)
    write(tmp_path, ["0.tar"], placed(U, replace(U, key="v")))
    assert len(Index.open(tmp_path)) == 2


def test_more_tasks_than_a_row_has_room_for_are_refused(tmp_path):
    made = placed(replace(U, tasks=tuple(f"t{i}" for i in range(65))))
    with pytest.raises(ValueError, match="more than 64 task names"):
        write(tmp_path, ["0.tar"], made)


def test_all_64_bits_are_used(tmp_path):
    write(tmp_path, ["0.tar"], placed(replace(U, tasks=tuple(f"t{i:02d}" for i in reversed(range(64))))))
    assert Index.open(tmp_path).rows["tasks"].tolist() == [np.iinfo(np.uint64).max]
