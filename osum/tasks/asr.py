"""Speech recognition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from osum.tasks.base import Task
from osum.text import tags
from osum.types import Utterance


class Asr(Task):
    """Write the transcript."""

    name = "asr"

    def target(self, utterance: Utterance) -> str | None:
        """Return the transcript: "" where there is no speech, None where it is unknown."""
        return utterance.text

    def parse(self, text: str) -> dict[str, Any]:
        """Return `transcript`: all that stands outside tags."""
        return {"transcript": tags.remove(text)}

    def score(self, refs: Sequence[Utterance], hyps: Sequence[str]) -> dict[str, Any]:
        """Return `wer`."""
        return self._transcript_scores(refs, hyps)


TASK = Asr()
