"""Speech recognition with times: `<0.1>hello<0.5><0.5>there<0.9>`, in tenths of a second."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from osum.metrics.timestamps import TimedUnit, shift_scores
from osum.tasks.base import Task
from osum.text.normalize import clean, join_units, split_units
from osum.types import Utterance

TIMED_UNIT = re.compile(r"<(\d{1,4}\.\d)>([^<>]+)<(\d{1,4}\.\d)>")


class Srwt(Task):
    """Write every unit (Han character or word) between its start and its end."""

    name = "srwt"
    timed = True

    def target(self, utterance: Utterance) -> str | None:
        """Return the timed transcript, or None where word times are unknown."""
        return render(utterance.words) if utterance.words and utterance.text else None

    def parse(self, text: str) -> dict[str, Any]:
        """Return `transcript`, `words` (the legible timed units, None if there are none) and `well_formed`.

        `well_formed` tells whether the output is timed units and nothing else, each ending no earlier than it
        starts.
        """
        words, rest = _scan(clean(text))
        outside = " ".join(re.split(r"<[^<>]*>", clean(text)))
        return {
            "transcript": join_units(split_units(outside)),
            "words": words or None,
            "well_formed": bool(words) and not rest,
        }

    def score(self, refs: Sequence[Utterance], hyps: Sequence[str]) -> dict[str, Any]:
        """Return `wer` and the shifts of word times; `parse_failures` counts outputs that are not well formed.

        `by_event` holds `n` and the shifts of utterances with a vocal event and of those without (`event`, `none`),
        where the data has both: an event moves what follows it, and is easily taken for speech.
        """
        parsed = [self.parse(h) for h in hyps]
        timed = [(timed_units(r.words), p["words"] or ()) for r, p in zip(refs, parsed, strict=True)]
        parts: dict[str, list[tuple[Sequence[TimedUnit], Sequence[TimedUnit]]]] = {}
        for ref, pair in zip(refs, timed, strict=True):
            parts.setdefault("event" if "event" in ref.labels else "none", []).append(pair)
        return {
            **self._transcript_scores(refs, hyps),
            **shift_scores(timed),
            "parse_failures": sum(not p["well_formed"] for p in parsed),
            "by_event": {kind: {"n": len(of), **shift_scores(of)} for kind, of in sorted(parts.items())}
            if len(parts) > 1
            else {},
        }


def render(words: Sequence[TimedUnit]) -> str:
    """Return (unit, start in s, end in s) as `<0.1>unit<0.5>` one after the other."""
    return "".join(f"<{start:.1f}>{unit}<{end:.1f}>" for unit, start, end in words)


def timed_units(words: Sequence[TimedUnit]) -> tuple[TimedUnit, ...]:
    """Return words in the form that metrics compare; those that are punctuation only are left out."""
    return tuple((join_units(split_units(w)), start, end) for w, start, end in words if split_units(w))


def _scan(text: str) -> tuple[tuple[TimedUnit, ...], str]:
    """Return the legible timed units, and what is left of the text without them."""
    words, rest, position = [], "", 0
    for found in TIMED_UNIT.finditer(text):
        start, unit, end = float(found[1]), found[2].strip(), float(found[3])
        rest += text[position : found.start()]
        position = found.end()
        if end >= start and split_units(unit):
            words.append((join_units(split_units(unit)), start, end))
        else:
            rest += found[0]
    return tuple(words), (rest + text[position:]).strip()


TASK = Srwt()
