import json

import numpy as np

from osum.data.store.index import Index
from tests.data.foreign import reasons, speech, write_list, write_tar


def test_a_lost_index_is_made_again(make_index, toy, index_of, tmp_path):
    written = make_index(toy(6), num_shards=2)
    tars = [written.folder / name for name in written.header.shards]
    again, drops = index_of("osum", write_list(tmp_path / "shards.list", *tars), decode=True)
    assert drops.used == 6
    assert (again.keys(), again.header.tasks) == (written.keys(), written.header.tasks)
    for row in range(6):
        assert again.utterance(row) == written.utterance(row)
        np.testing.assert_array_equal(again.audio(row), written.audio(row))
    for name in ("key_hash", "audio_offset", "audio_size", "num_samples", "tasks", "corpus", "language", "shard"):
        np.testing.assert_array_equal(again.rows[name], written.rows[name])


def test_the_tars_tell_what_the_shard_stage_wrote(make_index, toy, index_of, tmp_path):
    written = make_index(toy(3), num_shards=1, audio_format="wav")
    again, _ = index_of("osum", write_list(tmp_path / "shards.list", written.folder / written.header.shards[0]))
    assert isinstance(again, Index) and again.header.corpora == ["toy"]


def test_json_that_does_not_belong_is_dropped(index_of, tmp_path):
    about = {"key": "good", "corpus": "c", "language": "en", "text": "hi", "num_samples": 16_000, "tasks": ["asr"]}
    tar = {}
    for key, obj in {
        "good": about,
        "other": about,
        "short": {**about, "key": "short", "num_samples": 5_000},
        "list": [],
        "typed": {**about, "key": "typed", "text": 5},
    }.items():
        tar |= {f"{key}.wav": speech(), f"{key}.txt": "hi", f"{key}.json": json.dumps(obj)}
    tar |= {"none.wav": speech(), "none.txt": "hi"}
    index, drops = index_of("osum", write_list(tmp_path / "a.list", write_tar(tmp_path / "a.tar", tar)))
    assert index.keys() == ["good"]
    assert reasons(drops) == {
        "member .json is that of another utterance": 1,
        "audio does not have the length that its .json says": 1,
        "member .json is not one of ours": 2,
        "no member .json; is the format of this source wenet_shard?": 1,
    }
