"""Hypothesis files made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from osum import tasks
from osum.eval import hypotheses
from osum.eval.hypotheses import Hypothesis, HypothesisSet
from osum.types import Utterance

Rows = Sequence[tuple[Utterance, str]]


def utterance(key: str, text: str | None = "hello there", language: str = "en", **more: Any) -> Utterance:
    return Utterance(key, "corpus", language, text, num_samples=32000, **more)


def hypothesis_set(task: str, rows: Rows, test_set: str = "test", swapped: bool = False) -> HypothesisSet:
    keys = [utt.key for utt, _ in rows]
    heard = [*keys[1:], *keys[:1]] if swapped else keys
    made = [
        Hypothesis(utt.key, task, f"do {task}", text, utt, audio_key, len(text), truncated=False)
        for (utt, text), audio_key in zip(rows, heard, strict=True)
    ]
    return HypothesisSet(test_set, task, swapped, tuple(made))


@pytest.fixture(name="utterance")
def utterance_fixture() -> Callable[..., Utterance]:
    return utterance


@pytest.fixture(name="hypothesis_set")
def hypothesis_set_fixture() -> Callable[..., HypothesisSet]:
    return hypothesis_set


@pytest.fixture
def eight_tasks() -> list[HypothesisSet]:
    """All eight tasks and a combined one on four utterances, partly right; swapped audio for each."""
    people = ({"gender": "female", "age": "old"}, {"gender": "male", "age": "adult"})
    words = ((("hello", 0.1, 0.5), ("there", 0.5, 0.9)), (("你", 0.1, 0.3), ("好", 0.3, 0.5)))
    refs = [
        utterance(
            f"u{i}",
            ("hello there", "你好")[i % 2],
            ("en", "zh")[i % 2],
            words=words[i % 2],
            labels={
                **people[i % 2],
                "emotion": ("happy", "sad")[i // 2],
                "style": ("客服", "日常口语")[i % 2],
                "event": ("laugh", "cough")[i // 2],
                "answer": ("fine", "很好")[i % 2],
                "question": ("closed", "slot")[i // 2],
            },
        )
        for i in range(4)
    ]
    sets = []
    for name in (*tasks.names(), "sap+sgc"):
        wanted = [tasks.get(name).target(ref) for ref in refs]
        sets.append(hypothesis_set(name, list(zip(refs, [*wanted[:3], "hallo <|> *"], strict=True))))
        sets.append(hypothesis_set(name, list(zip(refs, [*wanted[1:], wanted[0]], strict=True)), swapped=True))
    return sets


@pytest.fixture
def experiment(tmp_path: Path, eight_tasks: list[HypothesisSet]) -> Path:
    """An experiment that was decoded and trained."""
    exp_dir = tmp_path / "exp dir" / "tiny"
    for hyps in eight_tasks:
        hypotheses.write(exp_dir / "decode", hyps, len(hyps.hypotheses))
    for stage in ("whisper", "sulm"):
        (exp_dir / stage).mkdir()
        rows = [f'{{"step": {s}, "split": "train", "loss": {9 / s}, "lr": 0.1, "wall_s": {s}.0}}\n' for s in (1, 2, 3)]
        (exp_dir / stage / "metrics.jsonl").write_text("".join(rows) + '{"step": 3, "split": "dev", "loss": 3.25}\n')
    (exp_dir / "sulm" / "config.yaml").write_text("seed: 7\n")
    (exp_dir / "sulm" / "versions.json").write_text('{"osum commit": "abc123", "torch": "2.11.0"}')
    return exp_dir
