import gzip
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from osum.audio import io
from osum.bin.shard import main, shard
from osum.data import licences
from osum.data.store.index import Index, speaker_hash
from tests.bin.shard_stage import contents, make_cut


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_tars_have_wenets_layout(stage, cuts, tmp_path, audio_format):
    shard(stage(cuts, audio_format=audio_format))
    listed = (tmp_path / "shards/train/shards.list").read_text().splitlines()
    assert listed == [str(tmp_path / f"shards/train/shard_{n:09d}.tar") for n in range(3)]
    names = []
    for path in listed:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            assert all((m.mtime, m.uid, m.uname, m.isreg()) == (0, 0, "", True) for m in members)
            names += [m.name for m in members]
            assert tar.extractfile(members[1]).read().decode() == "你好 world"
    assert [n.rpartition(".")[2] for n in names] == [audio_format, "txt", "json"] * 10
    assert all(len({n.rpartition(".")[0] for n in names[i : i + 3]}) == 1 for i in range(0, 30, 3))


def test_the_index_finds_what_tarfile_finds(stage, cuts, tmp_path):
    shard(stage(cuts))
    index = Index.open(tmp_path / "shards/train")
    assert sorted(index.keys()) == [f"toy/u{i}" for i in range(10)]
    assert index.header.label_sets == [{"emotion": "happy", "gender": "female"}]
    assert set(index.rows["speaker"].tolist()) == {speaker_hash("toy", "s1")}
    for row in range(10):
        shard_file = index.folder / index.header.shards[int(index.rows[row]["shard"])]
        with tarfile.open(shard_file) as tar:
            expected, _ = io.load(tar.extractfile(f"{index.key(row)}.flac").read())
        np.testing.assert_array_equal(index.audio(row), expected)
        utterance = index.utterance(row)
        assert utterance.num_samples == len(expected) == 8000 + 1600 * int(index.key(row)[-1])
        assert utterance.labels == {"gender": "female", "emotion": "happy"} and utterance.tasks == ("asr", "ser")
        assert utterance.words[0] == ("你", 0.1, pytest.approx(0.3))


def test_the_number_of_processes_changes_no_byte(stage, cuts, tmp_path):
    config = stage(cuts)
    shard(config)
    alone = contents(tmp_path / "shards")
    shard(replace(config, num_procs=3, overwrite=True))
    assert contents(tmp_path / "shards") == alone


def test_licences_go_with_the_shards(stage, cuts, tmp_path):
    config = stage(cuts)
    licences.write(config.cuts_dir, {"toy": ["CC0"]})
    shard(config)
    assert licences.read(tmp_path / "shards", ["toy"]) == {"toy": "CC0"}


def test_a_second_run_does_nothing(stage, cuts, tmp_path):
    config = stage(cuts)
    shard(config)
    before = (tmp_path / "shards/train/index.npy").stat().st_mtime_ns
    shard(replace(config, num_procs=2))
    assert (tmp_path / "shards/train/index.npy").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="shard_size: 4 -> 5"):
        shard(replace(config, shard_size=5))


def test_other_rates_widths_and_channels_become_16_khz_mono(stage, tmp_path):
    made = [
        make_cut(tmp_path / "audio", "narrow", rate_hz=8_000),
        make_cut(tmp_path / "audio", "wide", rate_hz=48_000, channels=8, subtype="PCM_24"),
    ]
    shard(stage(made))
    index = Index.open(tmp_path / "shards/train")
    for row in range(2):
        audio = index.audio(row)
        assert audio.shape == (16_000,)
        assert np.abs(np.fft.rfft(audio)).argmax() == 440


def test_bad_audio_is_counted_and_too_much_stops(stage, cuts, tmp_path):
    (tmp_path / "audio/toy_u3.wav").write_bytes(b"not audio")
    soundfile.write(tmp_path / "audio/toy_u5.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"2 of 10 utterances are defective .* toy/u"):
        shard(stage(cuts))
    assert not (tmp_path / "shards").exists()
    shard(stage(cuts, max_defect_rate=0.2))
    assert not (tmp_path / ".shards.unfinished").exists()
    ledger = json.loads((tmp_path / "shards/drops.json").read_text())
    assert (ledger["read"], ledger["used"]) == (10, 8)
    assert sorted(ledger["dropped"]["unreadable_audio"]["ids"]) == ["toy/u3", "toy/u5"]
    assert len(Index.open(tmp_path / "shards/train")) == 8


@pytest.mark.parametrize("key", ["../up", "/absolute", "a/../b", "a//b", "tab\there", "back\\slash", "."])
def test_hostile_keys_are_refused(stage, tmp_path, key):
    cut = make_cut(tmp_path / "audio", "u")
    with pytest.raises(ValueError, match="rename it"):
        shard(stage([replace(cut, id=key)]))
    assert not (tmp_path / "shards").exists()


def test_a_key_that_comes_twice_is_refused(stage, cuts):
    with pytest.raises(ValueError, match="'toy/u0' comes twice"):
        shard(stage([*cuts, cuts[0]]))


def test_a_killed_writer_leaves_nothing_that_looks_finished(stage, cuts, tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("osum.data.corpora.sharding.verify", killed)
    with pytest.raises(KeyboardInterrupt):
        shard(stage(cuts))
    assert not (tmp_path / "shards").exists()


def test_a_line_that_is_no_cut_is_named(stage, cuts, tmp_path):
    config = stage(cuts)
    with gzip.open(tmp_path / "cuts/train.jsonl.gz", "at") as f:
        f.write('{"id": "broken"\n')
    with pytest.raises(ValueError, match=r"train\.jsonl\.gz:11: not a cut"):
        shard(config)


def test_a_damaged_manifest_is_named(stage, cuts, tmp_path):
    config = stage(cuts)
    path = tmp_path / "cuts/train.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train\.jsonl\.gz: damaged"):
        shard(config)


def test_the_stage_runs_from_the_command_line(stage, cuts, tmp_path):
    config = stage(cuts)
    main([f"--cuts_dir={config.cuts_dir}", f"--out_dir={config.out_dir}", "--num_shards=1", "--audio_format=wav"])
    assert (tmp_path / "shards/train/shard_000000000.tar").is_file()
    assert not (tmp_path / "shards/train/shard_000000001.tar").exists()
