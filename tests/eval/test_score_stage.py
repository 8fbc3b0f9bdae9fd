"""Stage 6: everything is written, a second run writes nothing, and mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osum.bin import score
from osum.eval import hypotheses


def run(exp_dir: Path, *more: str) -> None:
    score.main(["--exp_dir", str(exp_dir), *more])


def test_all_outputs(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(experiment)
    scores = json.loads((experiment / "scores.json").read_text())
    assert scores["test"]["sgc"]["accuracy"] == 0.75
    assert scores["test"]["sgc"]["swapped_audio"]["accuracy"] == 0.0
    assert {p.name for p in (experiment / "report").glob("*.png")} == {
        "overview_test.png",
        "times_test_srwt.png",
        "curves_whisper.png",
        "curves_sulm.png",
        *(f"confusion_test_{task}.png" for task in ("ved", "ser", "ssr", "sgc", "sap")),
        "confusion_test_sap+sgc_age.png",
        "confusion_test_sap+sgc_gender.png",
    }
    printed = capsys.readouterr().out
    assert "accuracy, %" in printed
    assert "NFKC" in printed


def test_report_is_complete(experiment: Path) -> None:
    run(experiment)
    text = (experiment / "report.md").read_text()
    for picture in (experiment / "report").glob("*.png"):
        assert f"](report/{picture.name})" in text
    for needed in ("## Results on test", "Normaliser: NFKC", "customer service = 客服", "abc123", "seed: 7", "3.250"):
        assert needed in text
    assert "hallo \\<\\|\\> \\*" in text
    page = (experiment / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(list((experiment / "report").glob("*.png")))
    assert "hallo &lt;|&gt; *" in page
    assert "report/" not in page


def test_second_run_writes_nothing(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(experiment)
    files = [experiment / name for name in ("scores.json", "report.md", "report.html")]
    first, times = capsys.readouterr().out, [p.stat().st_mtime_ns for p in files]
    run(experiment)
    assert [p.stat().st_mtime_ns for p in files] == times
    assert capsys.readouterr().out == first


def test_changes_are_scored_again(experiment: Path, eight_tasks: list[hypotheses.HypothesisSet]) -> None:
    run(experiment)
    before = (experiment / "scores.json").read_bytes()
    (experiment / "scores.json").unlink()
    run(experiment)
    assert (experiment / "scores.json").read_bytes() == before
    (experiment / "decode" / "test.asr.swapped.jsonl").unlink()
    run(experiment)
    assert json.loads((experiment / "scores.json").read_text())["test"]["asr"]["swapped_audio"]["wer"] is None


def test_other_settings_need_overwrite(experiment: Path) -> None:
    run(experiment)
    with pytest.raises(ValueError, match=r"num_examples: 5 -> 1.*--overwrite true"):
        run(experiment, "--num_examples", "1")
    run(experiment, "--num_examples", "1", "--overwrite", "true")


def test_without_training_stages(experiment: Path, tmp_path: Path) -> None:
    run(tmp_path / "bare", "--decode_dir", str(experiment / "decode"))
    text = (tmp_path / "bare" / "report.md").read_text()
    assert "## Training" not in text
    assert "# Report on bare" in text


def test_missing_or_unfinished_decode(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="decode: not found; run the stage that writes it first"):
        run(tmp_path)
    (tmp_path / "decode").mkdir()
    (tmp_path / "decode" / ".started.json").write_text("{}")
    (tmp_path / "decode" / "test.asr.jsonl").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has not finished"):
        run(tmp_path)


def test_bad_hypotheses_leave_no_report(experiment: Path) -> None:
    path = experiment / "decode" / "test.ser.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:2], *lines[3:]]))
    with pytest.raises(ValueError, match=r"test\.ser\.jsonl: holds 3 of 4 expected hypotheses"):
        run(experiment)
    assert not (experiment / "scores.json").exists()
    assert not (experiment / "report").exists()


def test_negative_counts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, "--num_worst", "-1")
    assert "num_worst is -1; it must be 0 or more" in capsys.readouterr().err
