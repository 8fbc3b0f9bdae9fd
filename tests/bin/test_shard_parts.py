"""Shards written in parts are those written at once."""

import json
import shutil
from dataclasses import replace

import pytest

from osum.bin.shard import shard
from osum.data.corpora import shard_records
from tests.bin.shard_stage import contents, killed_at, written_by

NUM_PARTS = 2


def in_parts(config, **options):
    """Configs of the parts, the last first, and of what puts them together."""
    return [replace(config, num_parts=NUM_PARTS, part=part, **options) for part in (2, 1, None)]


def test_parts_put_together_are_what_is_written_at_once(undisturbed, tmp_path, monkeypatch):
    config, whole = undisturbed
    *parts, together = in_parts(config)
    assert [written_by(part, monkeypatch) for part in parts] == [[1], [0, 2]]
    assert written_by(together, monkeypatch) == []
    assert contents(tmp_path / "shards") == whole
    assert not (tmp_path / "shards.parts").exists()


def test_more_parts_than_tars_are_no_harm(undisturbed, tmp_path):
    config, whole = undisturbed
    for part in (1, 2, 3, 4, 5, None):
        shard(replace(config, num_parts=5, part=part))
    assert contents(tmp_path / "shards") == whole


def test_what_is_put_together_is_up_to_date_for_any_number_of_parts(undisturbed, tmp_path):
    config, _ = undisturbed
    shard(config)
    before = (tmp_path / "shards/.done.json").stat().st_mtime_ns
    for again in in_parts(config):
        shard(again)
    assert (tmp_path / "shards/.done.json").stat().st_mtime_ns == before
    assert not (tmp_path / "shards.parts").exists()


def test_a_missing_part_is_named_with_its_command(undisturbed):
    part, _, together = in_parts(undisturbed[0])
    shard(part)
    with pytest.raises(ValueError, match=r"parts/1-of-2: not made yet; run this with --part 1 --num_parts 2"):
        shard(together)


def test_parts_of_other_settings_are_not_taken(undisturbed):
    *parts, together = in_parts(undisturbed[0])
    for part in parts:
        shard(part)
    with pytest.raises(ValueError, match="of-2 was made with other settings"):
        shard(replace(together, audio_format="wav"))


@pytest.mark.parametrize("which", ["a part", "all"])
def test_a_kill_at_any_moment_is_gone_on_with(undisturbed, tmp_path, which):
    config, whole = undisturbed
    first, second, together = in_parts(config)
    number = 0
    while True:
        number += 1
        shard(first)
        if which == "all":
            shard(second)
        if not killed_at(number, second if which == "a part" else together):
            break
        for again in (second, together):  # of a part that is put together already there is nothing to do
            shard(again)
        assert contents(tmp_path / "shards") == whole, number
        shutil.rmtree(tmp_path / "shards")
    assert number > 10


def test_too_many_defects_stop_the_whole_and_audio_that_was_repaired_is_read(stage, cuts, tmp_path, monkeypatch):
    path = tmp_path / "audio/toy_u3.wav"
    good = path.read_bytes()
    path.write_bytes(b"not audio")
    *parts, together = in_parts(stage(cuts))
    for part in parts:
        shard(part)
    with pytest.raises(ValueError, match="1 of 10 utterances are defective"):
        shard(together)
    path.write_bytes(good)
    for part in parts:
        assert written_by(part, monkeypatch) == []
    assert len(written_by(together, monkeypatch)) == 1
    assert json.loads((tmp_path / "shards/drops.json").read_text())["used"] == 10


def test_a_tar_is_never_without_its_record(undisturbed, tmp_path, monkeypatch):
    """Were it moved first, a kill between the two would have it written again."""
    *parts, together = in_parts(undisturbed[0])
    for part in parts:
        shard(part)
    recorded, move = [], shard_records.os.replace

    def note(source, target):
        if str(target).endswith(".tar"):
            recorded.append(target.name in shard_records.read_records(target.parent))
        move(source, target)

    monkeypatch.setattr(shard_records.os, "replace", note)
    shard(together)
    assert recorded == [True] * 3
