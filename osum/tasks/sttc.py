"""Speech to text chat: the transcript, `<开始回答>`, then the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from osum.tasks.base import Task
from osum.text import tags
from osum.text.normalize import clean, split_units
from osum.types import Utterance

SEPARATOR = "<开始回答>"


class Sttc(Task):
    """Transcribe what was said and answer it."""

    name = "sttc"
    reserved = ("<sttc>", SEPARATOR)

    def target(self, utterance: Utterance) -> str | None:
        """Return for example `how are you<开始回答>very well`."""
        answer = utterance.labels.get("answer")
        return None if utterance.text is None or answer is None else f"{utterance.text}{SEPARATOR}{answer}"

    def parse(self, text: str) -> dict[str, Any]:
        """Return `transcript` and `answer`: what follows the first separator, None without one."""
        transcript, separator, answer = clean(text).partition(SEPARATOR)
        return {"transcript": tags.remove(transcript), "answer": tags.remove(answer) if separator else None}

    def score(self, refs: Sequence[Utterance], hyps: Sequence[str]) -> dict[str, Any]:
        """Return `wer` of the transcript and `exact`, the share of answers equal after normalisation.

        An output without separator is wrong, and counted as `no_separator`. `by_question` holds `n` and `exact` of
        each kind of question, where the data names kinds.
        """
        answers = [self.parse(h)["answer"] for h in hyps]
        correct = [
            a is not None and split_units(a) == split_units(_answer(r)) for r, a in zip(refs, answers, strict=True)
        ]
        kinds: dict[str, list[bool]] = {}
        for ref, right in zip(refs, correct, strict=True):
            if "question" in ref.labels:
                kinds.setdefault(ref.labels["question"], []).append(right)
        return {
            **self._transcript_scores(refs, hyps),
            "exact": sum(correct) / len(refs) if refs else None,
            "no_separator": answers.count(None),
            "by_question": {kind: {"n": len(of), "exact": sum(of) / len(of)} for kind, of in sorted(kinds.items())},
        }


def _answer(ref: Utterance) -> str:
    if "answer" not in ref.labels:
        raise ValueError(f"reference {ref.key}: no answer; it cannot be scored as sttc, annotate again")
    return ref.labels["answer"]


TASK = Sttc()
