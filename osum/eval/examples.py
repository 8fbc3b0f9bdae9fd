"""Which hypotheses a report shows, and how: a fair sample, the worst transcripts, word times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

import kaldialign

from osum import tasks
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.eval.document import Table
from osum.eval.hypotheses import Hypothesis, HypothesisSet
from osum.eval.plots.timeline import Timeline
from osum.metrics.wer import Errors, count_errors
from osum.tasks.srwt import timed_units
from osum.text.normalize import join_units, split_units

GAP = "<gap>"


def sample(hyps: Sequence[Hypothesis], count: int) -> list[Hypothesis]:
    """Return up to `count` hypotheses: languages in turn, and of each language evenly spread over the set."""
    languages = sorted({h.utterance.language for h in hyps})
    parts = [_spread([h for h in hyps if h.utterance.language == language], count) for language in languages]
    return [h for h in chain.from_iterable(zip_longest(*parts)) if h is not None][:count]


def _spread(hyps: Sequence[Hypothesis], count: int) -> list[Hypothesis]:
    if len(hyps) <= count:
        return list(hyps)
    return [hyps[i * len(hyps) // count] for i in range(count)]


def sample_table(hyps: HypothesisSet, count: int) -> Table:
    """Return a sample of one task's hypotheses beside what they should have been."""
    task = tasks.get(hyps.task)
    rows = []
    for h in sample(hyps.hypotheses, count):
        wanted = task.target(h.utterance)
        rows.append((h.key, h.prompt, wanted or "", shown(h.hypothesis, h.truncated)))
    return Table(("key", "prompt", "reference", "model"), rows, "llll")


def shown(text: str, truncated: bool) -> str:
    """Return a generated text, and whether its limit cut it."""
    return text + (" … (cut)" if truncated else "")


def worst_table(hyps: HypothesisSet, count: int) -> Table | None:
    """Return the transcripts with the highest error rate, wrong units in brackets; None when none has an error."""
    task = tasks.get(hyps.task)
    ranked = []
    for h in hyps.hypotheses:
        if h.utterance.text is not None:
            transcript = task.parse(h.hypothesis)["transcript"]
            errors = count_errors(h.utterance.text, transcript)
            ranked.append((_num_errors(errors) / max(1, errors.num_ref_units), _num_errors(errors), h, transcript))
    ranked.sort(key=lambda row: (-row[0], -row[1], row[2].key))
    rows = [
        (h.key, f"{num_errors} / {len(split_units(h.utterance.text))}", *marked(h.utterance.text, transcript))
        for _, num_errors, h, transcript in ranked[:count]
        if num_errors
    ]
    return Table(("key", "errors / units", "reference", "model"), rows, "lrll") if rows else None


def _num_errors(errors: Errors) -> int:
    return errors.insertions + errors.deletions + errors.substitutions


def marked(ref: str, hyp: str) -> tuple[str, str]:
    """Return both texts, normalised, with the units that differ in a least-edit alignment in brackets."""
    pairs = kaldialign.align(split_units(ref), split_units(hyp), GAP)
    refs = [r if r == h else f"[{r}]" for r, h in pairs if r != GAP]
    hyps = [h if r == h else f"[{h}]" for r, h in pairs if h != GAP]
    return join_units(refs), join_units(hyps)


def timelines(hyps: HypothesisSet, count: int, max_duration_s: float = 10.0) -> list[Timeline]:
    """Return the word times of a sample; utterances over `max_duration_s` would not be legible and are left out.

    Empty when the task's hypotheses hold no word times.
    """
    task = tasks.get(hyps.task)
    short = [h for h in hyps.hypotheses if h.utterance.num_samples <= max_duration_s * SAMPLE_RATE_HZ]
    lines = []
    for h in sample(short, count):
        parsed = task.parse(h.hypothesis)
        if "words" in parsed:
            duration_s = h.utterance.num_samples / SAMPLE_RATE_HZ
            lines.append(Timeline(h.key, duration_s, timed_units(h.utterance.words), parsed["words"] or ()))
    return lines
