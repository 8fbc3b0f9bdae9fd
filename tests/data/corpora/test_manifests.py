"""Reading manifests."""

import gzip
from pathlib import Path

import pytest

from osum.data.corpora.manifests import find_corpora, read_corpus


def test_bad_lines_are_entries_with_a_defect(tmp_path: Path, write_corpus) -> None:
    folder = write_corpus(
        tmp_path / "toy",
        {"id": "a", "text": "x"},
        "{not json",
        '{"id": "c"}',
        {"id": "d", "recording_id": "none"},
        "[]",
    )
    entries = list(read_corpus(folder))
    path = folder / "supervisions.jsonl.gz"
    assert entries[0].supervision.text == "x"
    assert entries[0].recording.id == "a"
    assert (entries[1].id, entries[1].defect) == (f"{path}:2", f"not a JSON object ({path}:2)")
    assert entries[2].id == "c"
    assert entries[2].defect.startswith("malformed supervisionsegment")
    assert (entries[3].id, entries[3].defect) == ("d", "no recording")
    assert entries[4].id == f"{path}:5"


def test_recordings_of_one_id_are_ambiguous(tmp_path: Path, write_corpus) -> None:
    folder = write_corpus(tmp_path / "toy", {"id": "a"}, {"id": "a"}, {"id": "b"})
    assert [entry.defect for entry in read_corpus(folder)] == ["duplicate recording", "duplicate recording", None]


def test_missing_manifests_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run the prepare stage first"):
        find_corpora(tmp_path)
    (tmp_path / "toy").mkdir()
    with gzip.open(tmp_path / "toy" / "supervisions.jsonl.gz", "wt"):
        pass
    with pytest.raises(FileNotFoundError, match=r"recordings.jsonl.gz: not found"):
        list(read_corpus(tmp_path / "toy"))


def test_corpora_are_found_and_chosen_and_half_written_ones_passed_over(tmp_path: Path, write_corpus) -> None:
    for name in ("a", "b", ".c.123.partial"):
        write_corpus(tmp_path / name)
    assert find_corpora(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_corpora(tmp_path, ["b"]) == [tmp_path / "b"]
    with pytest.raises(ValueError, match="no corpus 'c' in it, only a, b; correct corpora"):
        find_corpora(tmp_path, ["c"])


def test_a_damaged_manifest_is_named(tmp_path: Path, write_corpus) -> None:
    path = write_corpus(tmp_path / "toy", {"id": "a"}) / "supervisions.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"supervisions.jsonl.gz: damaged .* run the prepare stage"):
        list(read_corpus(tmp_path / "toy"))
