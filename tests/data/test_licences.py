"""Licences of corpora on their way from the manifests to the trained model."""

from pathlib import Path

import pytest

from osum.data import licences


def test_what_is_noted_is_carried_along(tmp_path: Path) -> None:
    (tmp_path / "cuts").mkdir()
    (tmp_path / "shards").mkdir()
    licences.write(tmp_path / "cuts", {"a": ["CC BY 4.0", "CC0"]})
    licences.carry(tmp_path / "cuts", tmp_path / "shards")
    assert licences.read(tmp_path / "shards", ["a", "b"]) == {"a": "CC BY 4.0; CC0", "b": "unknown"}


def test_folders_of_earlier_versions_know_none(tmp_path: Path) -> None:
    licences.carry(tmp_path, tmp_path)
    assert licences.read(tmp_path, ["a"]) == {"a": "unknown"}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "licences.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"licences\.json: damaged"):
        licences.read(tmp_path, ["a"])
