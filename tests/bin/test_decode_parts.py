"""Decoding in parts gives the files that decoding at once gives."""

import json

import pytest

from osum.bin import decode
from osum.model.folder import save_sulm


@pytest.fixture
def words(sulm, sulm_record, shards_dir, tokenizer_dir, tmp_path):
    """`words("folder", "--part", "1")` -> the arguments of a decoding of an untrained model."""
    save_sulm(tmp_path / "model", sulm, sulm_record, tokenizer_dir)
    (tmp_path / "model/.done.json").write_text('{"fingerprint": "untrained"}')

    def arguments(name, *more):
        options = {"model_dir": tmp_path / "model", "shards_dir": shards_dir, "out_dir": tmp_path / name}
        options |= {"max_new_tokens": 5, "batch_size": 2}
        return [*[str(word) for option, value in options.items() for word in (f"--{option}", value)], *more]

    return arguments


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".done.json"}


def test_parts_put_together_are_what_is_decoded_at_once(words, tmp_path):
    decode.main(words("whole"))
    for part in ("2", "1", "3"):
        decode.main(words("joined", "--num_parts", "3", "--part", part))
    sizes = [len(path.read_text().splitlines()) - 1 for path in tmp_path.glob("joined.parts/*/test.asr.jsonl")]
    assert sorted(sizes) == [2, 2, 3]
    decode.main(words("joined", "--num_parts", "3"))
    assert content(tmp_path / "joined") == content(tmp_path / "whole")
    assert json.loads((tmp_path / "joined/drops.json").read_text()) == {"read": 28, "used": 28, "dropped": {}}
    assert not (tmp_path / "joined.parts").exists()


def test_what_is_put_together_is_up_to_date_for_any_number_of_parts(words, tmp_path):
    decode.main(words("out"))
    before = (tmp_path / "out/.done.json").stat().st_mtime_ns
    for more in ((), ("--num_parts", "2", "--part", "2"), ("--num_parts", "2")):
        decode.main(words("out", *more))
    assert (tmp_path / "out/.done.json").stat().st_mtime_ns == before
    assert not (tmp_path / "out.parts").exists()


def test_a_missing_part_is_named_with_its_command(words):
    decode.main(words("out", "--num_parts", "2", "--part", "1"))
    with pytest.raises(ValueError, match=r"parts/2-of-2: not made yet; run this with --part 2 --num_parts 2"):
        decode.main(words("out", "--num_parts", "2"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--num_parts", "0"), "num_parts is 0; it must be at least 1"),
        (("--num_parts", "2", "--part", "3"), "part is 3; it must lie between 1 and num_parts, 2"),
    ],
)
def test_a_part_that_cannot_be_is_refused(words, more, message, capsys):
    with pytest.raises((ValueError, SystemExit)) as refused:
        decode.main(words("out", *more))
    assert message in f"{refused.value}{capsys.readouterr().err}"
