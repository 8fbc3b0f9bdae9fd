"""What an index holds: hours, labels and speakers from all of its rows; text lengths from some utterances of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from osum import log
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.store.index import Index
from osum.text.normalize import split_units

NUM_BINS = 15
BAR_WIDTH = 40

REMEDY = "make it again by the shard stage, or beside the shards by osum.bin.index (format osum)"

logger = log.get(__name__)


@dataclass
class Sample:
    """What was read of some utterances, evenly spread over an index."""

    num_rows: int = 0
    num_unreadable: int = 0
    text_lens: list[int] = field(default_factory=list)
    """Han characters and words of each transcript."""


def hours(index: Index) -> dict[str, dict[str, tuple[int, float]]]:
    """Return corpus, language and task -> name -> (utterances, hours). An utterance counts for each of its tasks."""
    spent = index.rows["num_samples"].astype(np.float64) / (3600 * SAMPLE_RATE_HZ)
    header, found = index.header, {}
    for what, names in (("corpus", header.corpora), ("language", header.languages)):
        counts = np.bincount(index.rows[what], minlength=len(names))
        sums = np.bincount(index.rows[what], weights=spent, minlength=len(names))
        found[what] = {name: (int(counts[n]), float(sums[n])) for n, name in enumerate(names)}
    found["task"] = {}
    for bit, name in enumerate(header.tasks):
        serves = (index.rows["tasks"] >> np.uint64(bit)) & np.uint64(1) == 1
        found["task"][name] = (int(serves.sum()), float(spent[serves].sum()))
    return found


def labels(index: Index) -> dict[str, Counter[str]]:
    """Return field -> label -> utterances; nothing for an index of version 1. ValueError if it is damaged."""
    if not _knows_labels(index):
        return {}
    counts = np.bincount(index.rows["labels"], minlength=len(index.header.label_sets))
    if len(counts) > len(index.header.label_sets):
        raise ValueError(f"{index.folder}: a row has labels that the header lacks; make the index again")
    found: dict[str, Counter[str]] = {}
    for known, count in zip(index.header.label_sets, counts.tolist(), strict=True):
        for name, label in known.items():
            found.setdefault(name, Counter())[label] += count
    return found


def speakers(index: Index) -> dict[str, tuple[int, int]]:
    """Return corpus -> (known speakers, utterances of unknown ones); nothing for an index of version 1."""
    if not _knows_labels(index):
        return {}
    found = {}
    for number, name in enumerate(index.header.corpora):
        speaking = index.rows["speaker"][index.rows["corpus"] == number]
        found[name] = (len(np.unique(speaking[speaking > 0])), int((speaking == 0).sum()))
    return found


def _knows_labels(index: Index) -> bool:
    return index.header.version > 1


def sample(index: Index, max_rows: int) -> Sample:
    """Read every n-th utterance, `max_rows` at most; what is damaged is logged and counted."""
    found = Sample()
    for row in range(0, len(index), max(1, -(-len(index) // max_rows))):
        found.num_rows += 1
        try:
            utterance = index.utterance(row)
        except ValueError as err:
            logger.warning("data skip %s", err)
            found.num_unreadable += 1
            continue
        if utterance.text:
            found.text_lens.append(len(split_units(utterance.text)))
    return found


def histogram(values: Sequence[float] | np.ndarray, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (n,) and edges (n + 1,) in equal steps of 1, 2 or 5 times a power of ten, from 0 on.

    `whole` for whole numbers: no step is under 1. Every bin holds its lower edge and not its upper one.
    """
    top = max(float(np.max(values)), 1e-3) if len(values) else 1.0
    power = 10.0 ** np.floor(np.log10(top / NUM_BINS))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * NUM_BINS >= top)
    step = max(step, 1.0) if whole else step
    edges = step * np.arange(int(top / step) + 2)
    return np.histogram(values, bins=edges)[0], edges


def render(index: Index, found: Sample) -> str:
    """Return all of it as text."""
    durations_s = index.rows["num_samples"].astype(np.float64) / SAMPLE_RATE_HZ
    tables = [_hours_table(what, names) for what, names in hours(index).items() if names]
    total = f"{len(index)} utterances, {durations_s.sum() / 3600:.2f} h, {len(index.header.shards)} files"
    spread = f"from {found.num_rows} utterances" if found.num_rows < len(index) else "from all utterances"
    lost = f", {found.num_unreadable} of them unreadable" if found.num_unreadable else ""
    return "\n\n".join(
        [
            f"{index.folder}: {total}",
            *tables,
            _bars("duration, s", *histogram(durations_s)),
            _bars(f"transcript, Han characters and words ({spread}{lost})", *histogram(found.text_lens, whole=True)),
            *_label_tables(index),
        ]
    )


def _hours_table(what: str, names: Mapping[str, tuple[int, float]]) -> str:
    rows = [(name, f"{count}", f"{spent:.3f}") for name, (count, spent) in sorted(names.items())]
    return _table((what, "utterances", "hours"), rows)


def _label_tables(index: Index) -> list[str]:
    if not _knows_labels(index):
        return [f"labels and speakers: this index is of version 1, which lacks them; {REMEDY}"]
    rows = [(name, f"{known}", f"{unknown}") for name, (known, unknown) in sorted(speakers(index).items())]
    return [
        _table(("corpus", "speakers", "utterances of unknown ones"), rows),
        *(_label_table(name, found) for name, found in sorted(labels(index).items())),
    ]


def _label_table(name: str, found: Counter[str]) -> str:
    total = found.total()
    rows = [(label, f"{count}", f"{100 * count / total:.1f} %") for label, count in found.most_common()]
    return _table((name, "utterances", "share"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def _bars(title: str, counts: np.ndarray, edges: np.ndarray) -> str:
    """Return a histogram as lines of text."""
    largest = max(int(counts.max(initial=0)), 1)
    digits = max(0, -int(np.floor(np.log10(edges[1]) + 1e-9)))
    labels = [f"{low:.{digits}f} - {high:.{digits}f}" for low, high in pairwise(edges)]
    width = max(map(len, labels))
    lines = [
        f"{label.rjust(width)} |{('#' * round(BAR_WIDTH * count / largest)).ljust(BAR_WIDTH)} {count}"
        for label, count in zip(labels, counts, strict=True)
    ]
    return "\n".join([title, *lines])
