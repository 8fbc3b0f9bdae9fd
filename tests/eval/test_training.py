"""Training stages in the report: what their folders hold, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osum.eval.document import Heading, Listing, Table
from osum.eval.training import files_of, read_stage, setup_blocks, training_blocks


def test_summary_and_versions(tmp_path: Path) -> None:
    folder = tmp_path / "sulm"
    folder.mkdir()
    rows = [
        {"step": 1, "split": "train", "loss": 4.0, "epoch": 0, "audio_s_per_s": 90.0, "wall_s": 1000.0},
        {"step": 9, "split": "train", "loss": 2.0, "epoch": 3, "audio_s_per_s": 110.0, "wall_s": 1090.0},
        {"step": 5, "split": "dev", "loss": 2.5},
        {"step": 9, "split": "dev", "loss": 3.0},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = [{"step": s, "task": "asr", "key": "a", "reference": "x", "truncated": s == 9} for s in (5, 9)]
    lines = [json.dumps({**row, "hypothesis": f"x\u2028{row['step']}"}, ensure_ascii=False) + "\n" for row in written]
    (folder / "examples.jsonl").write_text("".join(lines) + '{"step": 12, "ta')
    (folder / "versions.json").write_text('{"commit": null, "packages": {"torch": "2.11.0"}}')
    (folder / "config.yaml").write_text("seed: 1\n")
    stage = read_stage(folder)
    table, examples = [block for block in training_blocks([stage]) if isinstance(block, Table)]
    assert examples.rows == [("asr", "a", "x", "x\u20289 … (cut)")]
    assert Heading(3, "What sulm wrote about the dev set after step 9") in training_blocks([stage])
    assert table.rows == [("sulm", "9", "3.0", "2.000", "2.500", "100", "1.5")]
    assert stage.versions == {"commit": "–", "packages: torch": "2.11.0"}
    assert Listing("Settings of sulm (config.yaml)", "seed: 1\n") in setup_blocks([stage])
    assert [p.name for p in files_of(folder)] == ["metrics.jsonl", "examples.jsonl", "config.yaml", "versions.json"]


def test_absent_stage_says_nothing(tmp_path: Path) -> None:
    stage = read_stage(tmp_path / "whisper")
    assert training_blocks([stage]) == []
    assert setup_blocks([stage]) == []


def test_malformed_versions(tmp_path: Path) -> None:
    (tmp_path / "versions.json").write_text("{")
    with pytest.raises(ValueError, match=r"versions\.json: not JSON"):
        read_stage(tmp_path)


def test_malformed_examples(tmp_path: Path) -> None:
    (tmp_path / "examples.jsonl").write_text('{"task": "asr"}\n')
    with pytest.raises(ValueError, match=r"examples\.jsonl: not what training writes .*'step'"):
        read_stage(tmp_path)
