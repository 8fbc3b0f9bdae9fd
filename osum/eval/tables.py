"""Tables of the report, made from scores alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osum.eval.document import Table
from osum.eval.plots.overview import Bar

ABSENT = "–"
TaskScores = Mapping[str, Any]


@dataclass(frozen=True)
class Headline:
    """The score that stands for a task in tables."""

    key: str
    title: str
    percent: bool = True


HEADLINES = (
    Headline("aas_ms", "AAS, ms (coverage)", percent=False),
    Headline("exact", "exact answers, %"),
    Headline("accuracy", "accuracy, %"),
    Headline("wer", "WER, %"),
)
"""The first that a task has is its headline. Lower is better for AAS and WER."""


def percent(rate: float | None) -> str:
    """Return a rate as percent with one decimal, such as `93.4`."""
    return ABSENT if rate is None else f"{100 * rate:.1f}"


def number(value: float | None, decimals: int = 0) -> str:
    """Return a number with a fixed number of decimals."""
    return ABSENT if value is None else f"{value:.{decimals}f}"


def decoded(scores: Mapping[str, TaskScores]) -> dict[str, TaskScores]:
    """Return the tasks that have hypotheses."""
    return {name: task for name, task in scores.items() if task["n"]}


def headline(task: TaskScores) -> Headline:
    """Return the score that stands for a task; WER when it has none at all."""
    return next((h for h in HEADLINES if task[h.key] is not None), HEADLINES[-1])


def results(scores: Mapping[str, TaskScores]) -> Table:
    """Return one row per task: its headline beside chance, majority and swapped audio, and its transcript's WER."""
    header = ("task", "n", "metric", "model", "swapped audio", "chance", "majority", "WER, %", "swapped WER, %")
    rows = []
    for name, task in decoded(scores).items():
        head, swapped = headline(task), task["swapped_audio"]
        figures = (_shown(head, task), _shown(head, swapped), percent(task["chance"]), percent(task["majority"]))
        rows.append((name, str(task["n"]), head.title, *figures, percent(task["wer"]), percent(swapped["wer"])))
    return Table(header, rows, "lrlrrrrrr")


def _shown(head: Headline, task: TaskScores) -> str:
    if head.percent or task[head.key] is None:
        return percent(task[head.key])
    # Shifts count matched units only: without their share a model that finds one word in a hundred would look good.
    return f"{number(task[head.key])} ({percent(task['coverage'])} %)"


def bars(scores: Mapping[str, TaskScores]) -> list[Bar]:
    """Return each task's share of right answers: exact, accuracy, matched units (SRWT), or 1 - WER cut at 0."""
    return [bar for name, task in decoded(scores).items() if (bar := _bar(name, task)).model is not None]


def _bar(name: str, task: TaskScores) -> Bar:
    swapped = task["swapped_audio"]
    for key, title in (("exact", "exact"), ("accuracy", "accuracy"), ("coverage", "units found")):
        if task[key] is not None:
            return Bar(f"{name}: {title}", task[key], swapped[key], task["chance"], task["majority"])
    right, swapped_right = (None if s["wer"] is None else max(0.0, 1.0 - s["wer"]) for s in (task, swapped))
    return Bar(f"{name}: 1 - WER", right, swapped_right, None, None)


def error_rates(scores: Mapping[str, TaskScores]) -> Table | None:
    """Return the transcript error rate of every task, in all and by language; None when no transcript is known."""
    shown = {name: task for name, task in decoded(scores).items() if task["wer"] is not None}
    languages = sorted({language for task in shown.values() for language in task["by_language"]})
    rows = []
    for name, task in shown.items():
        parts = [task["by_language"].get(language, {}) for language in languages]
        counts = [percent(part.get("wer")) + (f" (n={part['n']})" if part else "") for part in parts]
        rows.append((name, percent(task["wer"]), *counts))
    return Table(("task", "all", *languages), rows, "lr" + "r" * len(languages)) if rows else None


def label_fields(scores: Mapping[str, TaskScores]) -> dict[str, TaskScores]:
    """Return every scored label field as `task` or, for combined tasks, `task: field`."""
    fields: dict[str, TaskScores] = {}
    for name, task in decoded(scores).items():
        if "confusion" in task:
            fields[name] = task
        fields.update({f"{name}: {field}": part for field, part in task.get("fields", {}).items()})
    return fields


def labels(scores: Mapping[str, TaskScores]) -> Table | None:
    """Return accuracy, macro F1 and recall of every label field; None when no task has labels."""
    header = ("task", "accuracy, %", "macro F1, %", "UAR, %", "chance, %", "majority, %", "without legal tag")
    keys = ("accuracy", "macro_f1", "uar", "chance", "majority")
    rows = [
        (name, *(percent(part[key]) for key in keys), str(part["unparsed"]))
        for name, part in label_fields(scores).items()
    ]
    return Table(header, rows, "lrrrrrr") if rows else None


def word_times(scores: Mapping[str, TaskScores]) -> Table | None:
    """Return the shifts of word times, in all and with and without an event; None when no task has them."""
    header = (
        *("task", "n", "AAS, ms", "halved, ms", "coverage, %"),
        *("≤ 50 ms, %", "≤ 100 ms, %", "≤ 200 ms, %", "malformed"),
    )
    names = {"event": "with an event", "none": "without an event"}
    rows: list[tuple[str, ...]] = []
    for name, task in decoded(scores).items():
        if task["coverage"] is not None:
            rows.append((name, *_shifts(task), str(task["parse_failures"])))
            rows += [(f"{name}, {names[k]}", *_shifts(part), ABSENT) for k, part in task.get("by_event", {}).items()]
    return Table(header, rows, "lrrrrrrrr") if rows else None


def _shifts(part: TaskScores) -> tuple[str, ...]:
    shifts = (number(part["aas_ms"], 1), number(part["aas_half_ms"], 1), percent(part["coverage"]))
    return (str(part["n"]), *shifts, *(percent(part[f"within_{tolerance}_ms"]) for tolerance in (50, 100, 200)))


def answers(scores: Mapping[str, TaskScores]) -> Table | None:
    """Return the share of exact answers by kind of question; None when the data names no kinds."""
    rows = [
        (name, kind, str(part["n"]), percent(part["exact"]), percent(task["swapped_audio"]["exact"]))
        for name, task in decoded(scores).items()
        for kind, part in task.get("by_question", {}).items()
    ]
    return (
        Table(("task", "question", "n", "exact answers, %", "all, swapped audio, %"), rows, "llrrr") if rows else None
    )


def as_text(table: Table) -> str:
    """Return a table in columns for a terminal."""
    lines: Sequence[Sequence[str]] = (table.header, *table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust if a == "l" else str.rjust for a in table.align]
    shown = ["  ".join(pad(c, w) for pad, c, w in zip(pads, line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([shown[0], "-" * max(map(len, shown)), *shown[1:]])
