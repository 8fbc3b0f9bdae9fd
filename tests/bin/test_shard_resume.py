import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from osum.bin.shard import shard
from osum.data.corpora import sharding
from osum.data.corpora.shard_records import read_records
from osum.data.processes import map_fresh
from tests.bin.shard_stage import contents, killed_at, make_cut, written_by
from tests.data.store.test_shards import flip

UNFINISHED = ".shards.unfinished"


def test_a_run_that_is_killed_at_any_moment_is_gone_on_with(undisturbed, tmp_path):
    config, whole = undisturbed
    number = 0
    while True:
        number += 1
        if not killed_at(number, config):
            break
        if not (tmp_path / "shards").exists():
            shard(config)
        assert contents(tmp_path / "shards") == whole, number
        shutil.rmtree(tmp_path / "shards")
    assert number > 20  # three tars and the index
    assert contents(tmp_path / "shards") == whole


def test_a_run_that_is_killed_again_and_again_gets_there(undisturbed, tmp_path):
    config, whole = undisturbed
    number = 12
    while killed_at(number, config):
        number += 3
    assert number > 20 and contents(tmp_path / "shards") == whole


def test_workers_of_a_killed_run_do_no_harm(undisturbed, tmp_path):
    config, whole = undisturbed
    child = os.fork()
    if child == 0:
        # Its first tar is done, the other two are being written.
        sharding.Records.add = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
        shard(replace(config, num_procs=3))
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    shard(replace(config, num_procs=2))
    assert contents(tmp_path / "shards") == whole


def stop_at_the_third_tar(config, monkeypatch):
    write = sharding.write_tar

    def stop(path, cuts, audio_format):
        if "2.tar" in path.name:
            raise KeyboardInterrupt
        return write(path, cuts, audio_format)

    with monkeypatch.context() as context:
        context.setattr(sharding, "write_tar", stop)
        with pytest.raises(KeyboardInterrupt):
            shard(config)


@pytest.fixture
def stopped(undisturbed, tmp_path, monkeypatch):
    """Config, what it writes, and the folder of a run that was stopped before its third and last tar."""
    config, whole = undisturbed
    stop_at_the_third_tar(config, monkeypatch)
    return config, whole, tmp_path / UNFINISHED / "train"


def test_finished_tars_are_not_written_again(stopped, tmp_path, monkeypatch):
    config, whole, folder = stopped
    assert sorted(read_records(folder)) == ["shard_000000000.tar", "shard_000000001.tar"]
    assert written_by(config, monkeypatch) == [2]
    assert contents(tmp_path / "shards") == whole


@pytest.mark.parametrize("damage", ["bit", "short", "gone", "record"])
def test_finished_tars_that_are_damaged_are_written_again(stopped, tmp_path, monkeypatch, damage):
    config, whole, folder = stopped
    tar, records = folder / "shard_000000001.tar", folder / "shards.jsonl"
    if damage == "bit":
        flip(tar, 700)
    elif damage == "short":
        os.truncate(tar, 5_000)
    elif damage == "gone":
        tar.unlink()
    else:
        records.write_bytes(records.read_bytes()[:-10])
    assert written_by(config, monkeypatch) == [1, 2]
    assert contents(tmp_path / "shards") == whole


def test_tars_of_other_cuts_or_another_format_are_written_again(stopped, stage, cuts, tmp_path, monkeypatch):
    config, _, _ = stopped
    changed = [replace(c, supervisions=[replace(c.supervisions[0], text="anders")]) if i == 3 else c
               for i, c in enumerate(cuts)]  # fmt: skip
    (number,) = {int(n) for n, part in enumerate(_keys(config, tmp_path)) if "toy/u3" in part}
    assert set(written_by(stage(changed), monkeypatch)) == {number, 2}
    assert written_by(
        replace(config, out_dir=tmp_path / "shards", audio_format="wav", overwrite=True), monkeypatch
    ) == [
        0,
        1,
        2,
    ]


def _keys(config, tmp_path):
    """The keys of each tar, as another run of the same config places them."""
    from osum.data.store.shards import read_placed

    elsewhere = replace(config, out_dir=tmp_path / "elsewhere")
    shard(elsewhere)
    return [
        [place.utterance.key for place in read_placed(path)]
        for path in sorted((tmp_path / "elsewhere/train").glob("*.tar"))
    ]


def test_what_belongs_to_other_settings_goes(stopped, tmp_path):
    config, _, folder = stopped
    (folder.parent / "other_split").mkdir()
    shard(replace(config, num_shards=1))
    assert sorted(p.name for p in (tmp_path / "shards").iterdir()) == [".done.json", "drops.json", "train"]
    assert [p.name for p in sorted((tmp_path / "shards/train").glob("*.tar"))] == ["shard_000000000.tar"]
    assert not (tmp_path / UNFINISHED).exists()


def test_audio_that_was_repaired_after_the_stage_stopped_is_read(stage, cuts, tmp_path, monkeypatch):
    config, path = stage(cuts), tmp_path / "audio/toy_u3.wav"
    good = path.read_bytes()
    path.write_bytes(b"not audio")
    with pytest.raises(ValueError, match="1 of 10 utterances are defective"):
        shard(config)
    path.write_bytes(good)
    assert len(written_by(config, monkeypatch)) == 1
    assert json.loads((tmp_path / "shards/drops.json").read_text())["used"] == 10


def test_drops_of_kept_tars_are_counted(stage, cuts, tmp_path, monkeypatch):
    for i in (1, 2, 5, 7):
        soundfile.write(tmp_path / f"audio/toy_u{i}.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    config = stage(cuts, max_defect_rate=0.5)
    shard(config)
    whole = contents(tmp_path / "shards")
    shutil.rmtree(tmp_path / "shards")
    stop_at_the_third_tar(config, monkeypatch)
    assert written_by(config, monkeypatch) == [2]
    assert contents(tmp_path / "shards") == whole


@pytest.mark.parametrize("suffix", ["flac", "txt", "json"])
def test_a_bit_that_flips_on_disk_is_named_and_no_done_mark_made(stage, cuts, tmp_path, monkeypatch, suffix):
    verify, flipped = sharding.verify, []

    def flip_then_verify(path, num_bytes, sha256, members):
        if not flipped and "1.tar" in path.name:
            member = next(m for m in members if m.name.endswith(suffix))
            flip(path, member.offset)
            flipped.append(member.name)
        verify(path, num_bytes, sha256, members)

    monkeypatch.setattr(sharding, "verify", flip_then_verify)
    with pytest.raises(
        ValueError, match=rf"shard_000000001\.tar.*: does not hold what .* \(first in toy/u\d\.{suffix}\)"
    ):
        shard(stage(cuts))
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("name", ["index.npy", "index_keys.npy", "shard_000000001.tar"])
def test_the_index_and_the_tars_are_looked_at_before_the_done_mark(stage, cuts, tmp_path, monkeypatch, name):
    check = sharding.check_split

    def damage_then_check(folder, records):
        if name.endswith("npy"):
            flip(folder / name, (folder / name).stat().st_size - 3)
        else:
            os.truncate(folder / name, 1024)
        check(folder, records)

    monkeypatch.setattr(sharding, "check_split", damage_then_check)
    with pytest.raises(ValueError, match=name.replace("index_keys", "index")):
        shard(stage(cuts))
    assert not (tmp_path / "shards").exists()


def test_two_runs_do_not_write_to_one_folder(stage, cuts, tmp_path, monkeypatch):
    config = stage(cuts)

    def other_run(*args):
        list(map_fresh(shard, [config], 1))

    monkeypatch.setattr(sharding, "write_split", other_run)
    with pytest.raises(ValueError, match="another run is in it"):
        shard(config)


def test_an_utterance_longer_than_a_shard_has_one_alone(stage, tmp_path):
    made = [make_cut(tmp_path / "audio", f"u{i}", seconds=20.0 if i == 1 else 0.5) for i in range(6)]
    shard(stage(made, shard_size=2))
    records = read_records(tmp_path / "shards/train").values()
    assert sum(r.num_utterances for r in records) == 6 and min(r.num_utterances for r in records) == 1
    assert max(r.audio_s for r in records) <= 21.0
