"""Training curves: by split and metric, the last line of a step counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from osum.eval.curves import read_curves

LINES = """\
{"step": 10, "split": "train", "loss": 4.0, "loss.ser": 5.0, "lr": 0.001, "note": "x"}
{"step": 20, "split": "train", "loss": 3.0, "loss.asr": 2.0}
{"step": 20, "split": "dev", "loss": 3.5}
{"step": 20, "split": "train", "loss": 2.5}
{"step": 30, "spl
{"step": 30, "split": "train", "loss": NaN}
"""


def test_reads_series_and_resumed_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(LINES)
    curves = read_curves(path)
    loss = curves.get("train", "loss")
    assert loss is not None
    assert loss.steps.tolist() == [10, 20, 30]
    assert loss.values[:2].tolist() == [4.0, 2.5]
    assert curves.tasks("train") == ["asr", "ser"]
    assert curves.tasks("dev") == []
    assert curves.get("dev", "lr") is None
    assert curves.get("train", "note") is None
    assert curves.last("dev", "loss") == 3.5


def test_record_without_split(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "split": "dev"}\n{"loss": 1.0}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: a metrics record needs 'step' and 'split'"):
        read_curves(path)
