"""The report of one experiment as blocks: figures first, then where they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osum.eval import examples, tables
from osum.eval.document import Block, Gallery, Heading, Paragraph, Picture
from osum.eval.hypotheses import HypothesisSet
from osum.eval.plots import canvas
from osum.eval.plots.confusion import confusion
from osum.eval.plots.overview import overview
from osum.eval.plots.timeline import timeline, timeline_legend
from osum.eval.score import Scores
from osum.eval.training import TrainingStage, setup_blocks, training_blocks
from osum.text.normalize import NORMALISER

NO_LEGAL_TAG = "no legal tag"
SWAPPED_NOTE = (
    "Swapped audio: the same model and references, but each utterance is decoded with the audio of another one. "
    "A model that listens then falls to chance, the sum of squared shares of the reference labels; majority is the "
    "share of the largest class. A missing or illegible answer counts as wrong."
)
TIMES_NOTE = (
    "AAS (accumulated averaging shift): start shift plus end shift, averaged over the units that the model got right; "
    "coverage is their share of the reference units. Vocal events are shown apart where some utterances have one."
)
QUESTIONS_NOTE = (
    "Kinds as the data names them; in the embedded corpus `closed` is a set of questions that training has too, in "
    "voices that it has not, and `slot` are combinations of words that training left out."
)


@dataclass(frozen=True)
class Sizes:
    """How much a report shows."""

    num_examples: int
    """Hypotheses per task."""
    num_worst: int
    """Worst transcripts."""
    num_timelines: int
    """Utterances in the picture of word times."""


def report(
    title: str, scores: Scores, sets: Sequence[HypothesisSet], stages: Sequence[TrainingStage], sizes: Sizes
) -> list[Block]:
    """Return the whole report: for each test set figures and examples, then training, versions and settings."""
    blocks: list[Block] = [Heading(1, title)]
    for test_set, by_task in scores.items():
        own = [s for s in sets if s.test_set == test_set and not s.swapped]
        own.sort(key=lambda s: list(by_task).index(s.task))
        blocks += _figures(test_set, by_task)
        blocks += _pictures(test_set, by_task, own, sizes)
        blocks += _examples(test_set, by_task, own, sizes)
    return [*blocks, *training_blocks(stages), *setup_blocks(stages)]


def _figures(test_set: str, by_task: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    bars = tables.bars(by_task)
    glance = Picture(
        _file_name("overview", test_set),
        overview(f"{test_set}: share of right answers", bars),
        "Right answers of the model and of the same model with swapped audio, per task.",
    )
    blocks: list[Block] = [
        Heading(2, f"Results on {test_set}"),
        tables.results(by_task),
        Paragraph(SWAPPED_NOTE),
        *([Gallery([glance])] if bars else []),
    ]
    sections = (
        ("Transcripts: WER by language, %", tables.error_rates(by_task), f"Normaliser: {NORMALISER}."),
        ("Labels", tables.labels(by_task), "Macro F1 and UAR average over the classes that occur in the references."),
        ("Word times", tables.word_times(by_task), TIMES_NOTE),
        ("Answers by kind of question", tables.answers(by_task), QUESTIONS_NOTE),
    )
    for heading, table, note in sections:
        if table is not None:
            blocks += [Heading(3, heading), table, Paragraph(note)]
    return blocks


def _pictures(
    test_set: str, by_task: Mapping[str, Mapping[str, Any]], own: Sequence[HypothesisSet], sizes: Sizes
) -> list[Block]:
    blocks: list[Block] = []
    fields = tables.label_fields(by_task)
    if fields:
        matrices = [_confusion(test_set, name, part["confusion"]) for name, part in fields.items()]
        blocks += [Heading(3, f"Confusion on {test_set}"), Gallery(matrices)]
    for hyps in own:
        lines = examples.timelines(hyps, sizes.num_timelines)
        if lines:
            legend = timeline_legend(lines)
            caption = f"Word times of {hyps.task}. {legend}" if legend else f"Word times of {hyps.task}."
            picture = Picture(_file_name("times", test_set, hyps.task), timeline(lines), caption)
            blocks += [Heading(3, f"Word times of some utterances of {test_set}"), Gallery([picture])]
    return blocks


def _confusion(test_set: str, name: str, counts: Mapping[str, Any]) -> Picture:
    labels = [*counts["labels"], NO_LEGAL_TAG]
    matrix = [[*row, unparsed] for row, unparsed in zip(counts["matrix"], counts["unparsed"], strict=True)]
    legend = canvas.legend(labels)
    caption = f"{name}: reference by row, shade is the share of the row." + (f" {legend}." if legend else "")
    return Picture(_file_name("confusion", test_set, name), confusion(name, labels, matrix), caption)


def _examples(
    test_set: str, by_task: Mapping[str, Mapping[str, Any]], own: Sequence[HypothesisSet], sizes: Sizes
) -> list[Block]:
    blocks: list[Block] = []
    for hyps in own:
        chosen = examples.sample_table(hyps, sizes.num_examples)
        if chosen.rows:
            blocks += [Heading(3, f"{hyps.task}: a sample"), chosen]
    # One task is enough for its transcripts: plain recognition where it was decoded.
    transcribed = next((s for s in own if by_task[s.task]["wer"] is not None), None)
    worst = examples.worst_table(transcribed, sizes.num_worst) if transcribed else None
    if worst is not None and worst.rows:
        blocks += [Heading(3, f"{transcribed.task}: worst transcripts, differences in brackets"), worst]
    return [Heading(2, f"Examples of {test_set}"), *blocks] if blocks else []


def _file_name(*parts: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", "_".join(parts))
