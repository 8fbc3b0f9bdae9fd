"""Tasks whose answer is one label of a closed set per field: alone, combined, after the transcript or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osum.metrics.labels import baselines, label_scores
from osum.tasks.base import Task
from osum.text import tags
from osum.types import Utterance


@dataclass(frozen=True)
class Field:
    """A label field of utterances and what may stand in it."""

    name: str
    """Key in `Utterance.labels`."""
    labels: tuple[str, ...]
    """Canonical labels, in the order of tables and confusion matrices."""
    topic: Mapping[str, str]
    """What it is called in prompts, by language."""
    any_speed: bool = False
    """Whether the label holds for audio that is played faster or slower: that of a speaker or a mood does not."""


class TagTask(Task):
    """Write the transcript (unless `transcript` is False), then one tag per field, in the order of the fields."""

    def __init__(self, name: str, fields: Sequence[Field], transcript: bool = True) -> None:
        """Make the task `name`; two fields make a combined task."""
        self.name = name
        self.fields = tuple(fields)
        self.transcript = transcript
        self.any_speed = all(field.any_speed for field in fields)

    @property
    def tag(self) -> str:
        """One tag per part: `<ser>`, `<sap><sgc>`, `<only><sap><sgc>`."""
        return "".join(f"<{part}>" for part in self.name.replace(":", "+").split("+"))

    @property
    def reserved(self) -> tuple[str, ...]:
        """The task's tags and those of all labels."""
        task_tags = self.tag.replace("><", ">\n<").split("\n")
        return (*task_tags, *(tags.render(label) for field in self.fields for label in field.labels))

    def target(self, utterance: Utterance) -> str | None:
        """Return for example `hello there<old><female>`; the tags alone where the text is "" (no speech)."""
        labels = [utterance.labels.get(field.name) for field in self.fields]
        if None in labels or (self.transcript and utterance.text is None):
            return None
        return (utterance.text if self.transcript else "") + "".join(map(tags.render, labels))

    def parse(self, text: str) -> dict[str, Any]:
        """Return `transcript` and one label per field: of the tags, in order, the first that is legal for it."""
        transcript, written = tags.parse(text)
        parsed: dict[str, Any] = {"transcript": transcript}
        for field in self.fields:
            legal = [n for n, value in enumerate(written) if value in field.labels]
            parsed[field.name] = written[legal[0]] if legal else None
            written = written[legal[0] + 1 :] if legal else written
        return parsed

    def score(self, refs: Sequence[Utterance], hyps: Sequence[str]) -> dict[str, Any]:
        """Score the labels of one field on the top level; of several, jointly there and singly under `fields`."""
        scores = self._transcript_scores(refs, hyps)
        if not self.transcript:
            scores["wer"] = None
        if not refs:
            return scores
        parsed = [self.parse(h) for h in hyps]
        by_field = {
            field.name: label_scores([_label(r, field) for r in refs], [p[field.name] for p in parsed], field.labels)
            for field in self.fields
        }
        if len(self.fields) == 1:
            return {**scores, **by_field[self.fields[0].name]}
        wanted = [tuple(_label(r, field) for field in self.fields) for r in refs]
        written = [tuple(p[field.name] for field in self.fields) for p in parsed]
        joint = {
            "accuracy": sum(w == p for w, p in zip(wanted, written, strict=True)) / len(refs),
            "unparsed": sum(None in p for p in written),
        }
        return {**scores, **joint, **baselines(wanted), "fields": by_field}


def _label(ref: Utterance, field: Field) -> str:
    label = ref.labels.get(field.name)
    if label not in field.labels:
        raise ValueError(f"reference {ref.key}: {field.name} {label!r} is not in {list(field.labels)}; annotate again")
    return label
