"""Hypothesis files: reading inverts writing, and a damaged file is named with its line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from osum.eval import hypotheses
from osum.eval.hypotheses import Hypothesis, HypothesisSet
from osum.types import Utterance


def hypothesis(key: str, text: str = "你好\u2028<happy>", audio_key: str | None = None) -> Hypothesis:
    utt = Utterance(
        key, "c", "zh", "你好", 16000, words=(("你", 0.1, 0.3),), labels={"emotion": "happy"}, tasks=("ser",)
    )
    return Hypothesis(key, "ser", "情感", text, utt, audio_key or key, 3, truncated=False)


def written(folder: Path, keys: tuple[str, ...] = ("a", "b/c.d"), expected: int = 2) -> Path:
    hyps = HypothesisSet("test.clean", "ser", False, tuple(hypothesis(k) for k in keys))
    return hypotheses.write(folder, hyps, expected)


def damage(path: Path, number: int, **fields: object) -> None:
    lines = path.read_text().rstrip("\n").split("\n")
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **fields}, ensure_ascii=False)
    path.write_text("\n".join(lines) + "\n")


def test_reading_inverts_writing(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert path.name == "test.clean.ser.jsonl"
    back = hypotheses.read(path)
    assert back == HypothesisSet("test.clean", "ser", False, (hypothesis("a"), hypothesis("b/c.d")))
    assert back.texts == ["你好\u2028<happy>"] * 2
    assert back.references[1].key == "b/c.d"
    assert "你好" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["test.clean.ser.jsonl"]


def test_swapped_has_its_own_file(tmp_path: Path) -> None:
    hyps = HypothesisSet("test", "ser", True, (hypothesis("a", audio_key="b"), hypothesis("b", audio_key="a")))
    path = hypotheses.write(tmp_path, hyps, 2)
    assert path.name == "test.ser.swapped.jsonl"
    assert hypotheses.read(path) == hyps
    damage(path, 3, audio_key="b")
    with pytest.raises(ValueError, match=r"swapped\.jsonl:3: 'b' heard its own audio"):
        hypotheses.read(path)


def test_missing_hypotheses(tmp_path: Path) -> None:
    path = written(tmp_path, expected=3)
    with pytest.raises(ValueError, match=r"ser\.jsonl: holds 2 of 3 expected hypotheses; run the decode stage again"):
        hypotheses.read(path)


def test_duplicate_keys(tmp_path: Path) -> None:
    path = written(tmp_path, keys=("a", "b", "a"), expected=3)
    with pytest.raises(ValueError, match=r"ser\.jsonl:4: key 'a' is already on line 2"):
        hypotheses.read(path)


@pytest.mark.parametrize(
    ("number", "fields", "message"),
    [
        (1, {"osum_hypotheses": 9}, r":1: no header"),
        (1, {"expected": "2"}, r":1: header fields \['expected'\]"),
        (2, {"task": "asr"}, r":2: 'a' is of task 'asr', not 'ser'"),
        (2, {"audio_key": "z"}, r":2: 'a' heard the audio of 'z'"),
        (3, {"key": "z"}, r":3: 'z' has the reference of 'b/c.d'"),
        (3, {"utterance": None}, r":3: "),
        (3, {"utterance": {"key": "b/c.d"}}, r":3: utterance 'b/c.d' lacks"),
    ],
)
def test_wrong_fields(tmp_path: Path, number: int, fields: dict[str, object], message: str) -> None:
    path = written(tmp_path)
    damage(path, number, **fields)
    with pytest.raises(ValueError, match=message):
        hypotheses.read(path)


@pytest.mark.parametrize(
    ("line", "message"), [('{"key": "a"', r":2: not JSON"), ("[]", r":2: not a JSON object"), ("{}", r":2: .* lacks")]
)
def test_malformed_lines(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path)
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], line, *lines[2:]]))
    with pytest.raises(ValueError, match=message):
        hypotheses.read(path)


def test_wrong_bytes(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace("情".encode(), b"\xe6\x83", 1))
    with pytest.raises(ValueError, match=r"ser\.jsonl:2: not UTF-8"):
        hypotheses.read(path)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the decode stage first"):
        hypotheses.read_folder(tmp_path)
    written(tmp_path)
    (other,) = (dataclasses.replace(hypothesis("a"), task="only:ser"),)
    hypotheses.write(tmp_path, HypothesisSet("dev", "only:ser", False, (other,)), 1)
    assert [(h.test_set, h.task) for h in hypotheses.read_folder(tmp_path)] == [
        ("dev", "only:ser"),
        ("test.clean", "ser"),
    ]
