"""Cuts: Lhotse's view of an utterance with canonical labels, and the way from it to osum's own `Utterance`.

The steps are pure: they return a new supervision or cut, or raise `Unusable` with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from osum import tasks
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.corpora.label_maps import LabelMap, UnknownLabelError, label_sets
from osum.tasks.srwt import timed_units
from osum.text.normalize import clean, split_units
from osum.types import Utterance

WORD_TIME_SLACK_S = 0.1
"""Aligners may end the last word this much after the recording; such an end is cut back, seconds."""
FREE_LABELS = ("answer", "question")
"""Labels whose values no task lists: the answer to a question, and the kind of question by which scores are split."""
ROUNDING_S = 1e-3
"""Manifests round times: so much beyond a limit is on it, seconds."""


class Unusable(Exception):  # noqa: N818 - a verdict on an utterance, not an error of the program
    """An utterance that cannot be used; the message is the reason in the drop ledger."""

    def __init__(self, reason: str, defect: bool = True) -> None:
        """Give the reason; `defect` is False where a configured filter leaves good data out."""
        super().__init__(reason)
        self.defect = defect


def with_canonical_labels(supervision: SupervisionSegment, label_map: LabelMap) -> SupervisionSegment:
    """Replace raw labels by canonical ones; a label that is unknown by the map goes. Unusable names a new one."""
    raw = {**(supervision.custom or {}), "gender": supervision.gender}
    try:
        labels = {field: label_map.canonical(field, str(raw[field])) for field in label_map.legal if _given(raw, field)}
    except UnknownLabelError as err:
        raise Unusable(str(err)) from None
    others = {name: value for name, value in (supervision.custom or {}).items() if name not in label_map.legal}
    known = {field: label for field, label in labels.items() if label is not None and field != "gender"}
    return replace(supervision, gender=labels.get("gender"), custom={**others, **known})


def with_clean_text(supervision: SupervisionSegment, strip_punctuation: bool = False) -> SupervisionSegment:
    """Normalise transcript and answer. Unusable if one holds a tag, or nothing but punctuation."""
    custom = dict(supervision.custom or {})
    if _given(custom, "answer"):
        custom["answer"] = _clean(str(custom["answer"]), strip_punctuation)
    # None (unknown) and "" (verified: no speech) say different things, and both stay what they are.
    text = supervision.text and _clean(supervision.text, strip_punctuation)
    return replace(supervision, text=text, custom=custom)


def with_checked_words(supervision: SupervisionSegment) -> SupervisionSegment:
    """Normalise the units of word times and check the times. Unusable if they are not in order or not inside.

    Word times whose units are not those of the transcript are removed: they would contradict it.
    """
    words = timed_units([(w.symbol, w.start, w.end) for w in (supervision.alignment or {}).get("word", ())])
    if not words or not supervision.text or [w for w, _, _ in words] != split_units(supervision.text):
        return replace(supervision, alignment=None)
    first_s, last_s = supervision.start, supervision.end
    starts = [start for _, start, _ in words]
    # Written so that a time that is not a number fails.
    if starts != sorted(starts) or not all(start <= end for _, start, end in words):
        raise Unusable("word times are not in order")
    if starts[0] < first_s - ROUNDING_S or max(end for _, _, end in words) > last_s + WORD_TIME_SLACK_S:
        raise Unusable("word times lie outside the recording")
    items = []
    for unit, start, end in words:
        start, end = (min(max(time, first_s), last_s) for time in (start, end))
        items.append(AlignmentItem(unit, round(start, 4), round(end - start, 4)))
    return replace(supervision, alignment={"word": items})


def to_cut(recording: Recording, supervision: SupervisionSegment, corpus: str) -> MonoCut:
    """Return the supervised part of a recording as a cut at 16 kHz, times counted from its start.

    The channel is the supervision's first. Unusable if the part is empty or the recording does not hold it.
    """
    if supervision.duration <= 0 or recording.num_samples <= 0:
        raise Unusable("zero-length audio")
    if supervision.start < 0 or supervision.end > recording.duration + ROUNDING_S:
        raise Unusable("the supervision does not lie inside the recording")
    channel = supervision.channel if isinstance(supervision.channel, int) else supervision.channel[0]
    words = [word.with_offset(-supervision.start) for word in (supervision.alignment or {}).get("word", ())]
    moved = replace(supervision, start=0.0, channel=channel, alignment={"word": words} if words else None)
    return MonoCut(
        id=supervision.id,
        start=supervision.start,
        duration=supervision.duration,
        channel=channel,
        supervisions=[moved],
        recording=recording.resample(SAMPLE_RATE_HZ) if recording.sampling_rate != SAMPLE_RATE_HZ else recording,
        custom={"corpus": corpus},
    )


def with_tasks(cut: MonoCut, task_names: Sequence[str]) -> MonoCut:
    """Note which of the tasks the cut can serve: those that find a target in it."""
    served = utterance(cut)
    able = [name for name in task_names if tasks.get(name).target(served) is not None]
    return replace(cut, custom={**(cut.custom or {}), "tasks": able})


def utterance(cut: MonoCut) -> Utterance:
    """Return what is known of a cut in the form that shards hold and tasks read."""
    supervision = cut.supervisions[0]
    custom, notes = supervision.custom or {}, cut.custom or {}
    known = {**{name: custom.get(name) for name in (*label_sets(), *FREE_LABELS)}, "gender": supervision.gender}
    words = (supervision.alignment or {}).get("word", ())
    return Utterance(
        key=cut.id,
        corpus=notes["corpus"],
        language=supervision.language or "und",
        text=supervision.text,
        num_samples=round(cut.duration * SAMPLE_RATE_HZ),
        speaker=supervision.speaker,
        words=tuple((w.symbol, w.start, w.end) for w in words),
        labels={name: label for name, label in known.items() if label is not None},
        tasks=tuple(notes.get("tasks", ())),
    )


def _given(values: dict, name: str) -> bool:
    return values.get(name) not in (None, "")


def _clean(text: str, strip_punctuation: bool) -> str:
    if "<" in text or ">" in text:
        raise Unusable("text holds an angle bracket, which delimits tags")
    cleaned = clean(text, strip_punctuation)
    if not split_units(cleaned):
        raise Unusable("text holds no letter or character")
    return cleaned
