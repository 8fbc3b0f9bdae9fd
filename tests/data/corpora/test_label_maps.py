"""Alias maps."""

from pathlib import Path

import pytest

from osum.data.corpora.label_maps import LabelMap, UnknownLabelError, label_sets


@pytest.fixture
def labels_dir(tmp_path: Path) -> Path:
    (tmp_path / "default.yaml").write_text("emotion: {angry: anger}\nevent: {'other:*': other, 'oth*': null}\n")
    (tmp_path / "tess.yaml").write_text("emotion: {ps: surprise, angry: null}\n")
    return tmp_path


def test_aliases_then_canonical_labels(labels_dir: Path) -> None:
    default = LabelMap.load(labels_dir, "mini")
    assert default.canonical("emotion", " Angry ") == "anger"
    assert default.canonical("emotion", "happy") == "happy"
    assert default.canonical("event", "Throat  Clearing") == "throat clearing"


def test_a_corpus_comes_before_the_default(labels_dir: Path) -> None:
    tess = LabelMap.load(labels_dir, "tess")
    assert tess.canonical("emotion", "ps") == "surprise"
    assert tess.canonical("emotion", "angry") is None


def test_the_longest_prefix_wins(labels_dir: Path) -> None:
    default = LabelMap.load(labels_dir, "mini")
    assert default.canonical("event", "other:teeth") == "other"
    assert default.canonical("event", "others") is None


def test_unknown_labels_say_which_file_to_edit(labels_dir: Path) -> None:
    with pytest.raises(UnknownLabelError, match=r"unknown emotion label 'meh' \(add an alias to .*/tess.yaml\)"):
        LabelMap.load(labels_dir, "tess").canonical("emotion", "meh")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mood: {a: b}", "unknown field 'mood'; the fields are age, emotion"),
        ("emotion: {a: joy}", "emotion: 'a' maps to 'joy'"),
        ("emotion: [a]", "expected 'field"),
    ],
)
def test_malformed_maps_are_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text(content)
    with pytest.raises(ValueError, match=f"default.yaml: {message}"):
        LabelMap.load(tmp_path, "any")
    with pytest.raises(ValueError, match="no such folder"):
        LabelMap.load(tmp_path / "none", "any")


def test_canonical_sets_are_those_of_the_tasks() -> None:
    assert sorted(label_sets()) == ["age", "emotion", "event", "gender", "style"]
    assert label_sets()["age"] == ("child", "adult", "old")


def test_the_maps_of_the_repository_are_legal(repo_root: Path) -> None:
    for path in (repo_root / "local" / "labels").glob("*.yaml"):
        LabelMap.load(path.parent, path.stem)
