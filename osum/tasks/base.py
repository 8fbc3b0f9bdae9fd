"""What a task is: a target to write, a parser of what the model wrote, and a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from osum.metrics.wer import error_rate
from osum.types import Utterance

SCORES = (
    "n",
    "wer",
    "accuracy",
    "macro_f1",
    "uar",
    "majority",
    "chance",
    "aas_ms",
    "coverage",
    "exact",
)
"""Scores that every task reports; None where a task has no such score."""


class Task(ABC):
    """A task of the model. Subclasses are stateless; what differs is given to the constructor."""

    name: str
    """As in configs, shards and file names, for example `ser` or `sap+sgc`."""
    any_speed: bool = True
    """Whether the target holds for audio that is played faster or slower, with word times that change with it."""
    timed: bool = False
    """Whether the target tells word times."""

    @property
    def tag(self) -> str:
        """How an encoder-decoder is told the task, for example `<ser>`."""
        return f"<{self.name}>"

    @property
    def reserved(self) -> tuple[str, ...]:
        """Strings of prompts and targets that a tokenizer should hold as one token each."""
        return (self.tag,)

    @abstractmethod
    def target(self, utterance: Utterance) -> str | None:
        """Return what the model has to write, or None if the utterance cannot serve this task."""

    @abstractmethod
    def parse(self, text: str) -> dict[str, Any]:
        """Split model output into `transcript` and the task's own fields, None where missing; never raises."""

    @abstractmethod
    def score(self, refs: Sequence[Utterance], hyps: Sequence[str]) -> dict[str, Any]:
        """Score model outputs: the keys of `SCORES` and the task's own. Rates lie between 0 and 1."""

    def _transcript_scores(self, refs: Sequence[Utterance], hyps: Sequence[str]) -> dict[str, Any]:
        """Return all of `SCORES`, filled as far as transcripts go; unknown transcripts are left out of `wer`."""
        assert len(refs) == len(hyps), (len(refs), len(hyps))
        pairs = [(r.text, self.parse(h)["transcript"]) for r, h in zip(refs, hyps, strict=True) if r.text is not None]
        return {**dict.fromkeys(SCORES), "n": len(refs), "wer": error_rate(pairs)}
