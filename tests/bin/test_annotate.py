"""Stage 1 from manifests to its folder."""

import json
import sys
from pathlib import Path

import pytest

from osum.bin import annotate


@pytest.fixture
def argv(tmp_path: Path, write_corpus, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of the stage over a corpus of 12 speakers."""
    rows = [{"id": f"u{n}", "text": "Hello there", "language": "en", "speaker": f"s{n % 12}"} for n in range(24)]
    write_corpus(tmp_path / "manifests" / "toy", *rows)
    (tmp_path / "labels").mkdir()
    options = {"manifests_dir": "manifests", "out_dir": "cuts", "labels_dir": "labels"}
    words = [word for name, folder in options.items() for word in (f"--{name}", str(tmp_path / folder))]
    words += ["--tasks", '["asr"]', "--tokenizer.vocab_size", "400"]
    monkeypatch.setattr(sys, "argv", ["annotate", *words])
    return sys.argv


def test_outputs_and_rerun(argv: list[str], tmp_path: Path) -> None:
    annotate.main()
    out = tmp_path / "cuts"
    splits = {f"{split}.jsonl.gz" for split in ("train", "dev", "test")}
    others = {".done.json", "data_card.md", "drops.json", "licences.json", "tokenizer"}
    assert {path.name for path in out.iterdir()} == splits | others
    assert json.loads((out / "drops.json").read_text()) == {"read": 24, "used": 24, "dropped": {}}
    assert (out / "tokenizer" / "units.txt").is_file()
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    annotate.main()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == made


def test_splits_have_different_speakers(argv: list[str], tmp_path: Path) -> None:
    from lhotse import CutSet

    annotate.main()
    speakers = {
        split: {cut.supervisions[0].speaker for cut in CutSet.from_jsonl_lazy(tmp_path / "cuts" / f"{split}.jsonl.gz")}
        for split in ("train", "dev", "test")
    }
    assert [len(s) for s in speakers.values()] == [10, 1, 1]
    assert len(set.union(*speakers.values())) == 12


def test_changed_labels_make_the_stage_run_again(argv: list[str], tmp_path: Path) -> None:
    annotate.main()
    before = (tmp_path / "cuts" / ".done.json").read_text()
    (tmp_path / "labels" / "toy.yaml").write_text("emotion: {joy: happy}")
    annotate.main()
    assert (tmp_path / "cuts" / ".done.json").read_text() != before


def test_other_settings_stop(argv: list[str]) -> None:
    annotate.main()
    argv += ["--split.seed", "1"]
    with pytest.raises(ValueError, match=r"split.seed: 0 -> 1.*--overwrite true"):
        annotate.main()


def test_too_much_bad_data_leaves_nothing(argv: list[str], tmp_path: Path, write_corpus) -> None:
    write_corpus(tmp_path / "manifests" / "bad", {"id": "v", "text": "a", "gender": "robot"})
    with pytest.raises(ValueError, match=r"1 of 25 utterances are defective .*'robot' .*bad.yaml.*: v\)"):
        annotate.main()
    assert not (tmp_path / "cuts").exists()
    argv += ["--max_defect_rate", "0.1"]
    annotate.main()


@pytest.mark.parametrize(
    "option", [["--tasks", '["sing"]'], ["--max_defect_rate", "2"], ["--corpora", '["none"]'], ["--max_cuts", "0"]]
)
def test_wrong_options(option: list[str], argv: list[str]) -> None:
    argv += option
    with pytest.raises((SystemExit, ValueError)):
        annotate.main()
