"""The data card: what is in the cuts, for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from osum import tasks
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.drops import Drops
from osum.types import Utterance

SAMPLES_PER_HOUR = SAMPLE_RATE_HZ * 3600


@dataclass
class _Tally:
    num_utterances: int = 0
    num_samples: int = 0
    speakers: set[str] = field(default_factory=set)

    def add(self, utterance: Utterance) -> None:
        self.num_utterances += 1
        self.num_samples += utterance.num_samples
        if utterance.speaker is not None:
            self.speakers.add(f"{utterance.corpus}/{utterance.speaker}")

    def cells(self) -> list[str]:
        return [str(self.num_utterances), f"{self.num_samples / SAMPLES_PER_HOUR:.2f}", str(len(self.speakers))]


@dataclass
class DataCard:
    """Counts over the utterances of all splits."""

    _by_split: dict[tuple[str, ...], _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    _by_origin: dict[tuple[str, ...], _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    _by_task: dict[tuple[str, ...], _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    _labels: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    _texts: Counter[str] = field(default_factory=Counter)
    _licences: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, split: str, utterance: Utterance, licence: str | None = None) -> None:
        """Count one utterance."""
        self._by_split[split,].add(utterance)
        self._by_origin[utterance.corpus, utterance.language, split].add(utterance)
        for task in utterance.tasks:
            self._by_task[task, split].add(utterance)
        for name, label in utterance.labels.items():
            if name != "answer":
                self._labels[name][label, split] += 1
        kind = "unknown" if utterance.text is None else "transcribed" if utterance.text else "verified: no speech"
        self._texts[kind] += 1
        if licence:
            self._licences[utterance.corpus][licence] += 1

    @property
    def licences(self) -> dict[str, list[str]]:
        """Corpus -> the licences that its utterances name."""
        return {corpus: sorted(texts) for corpus, texts in self._licences.items()}

    def render(self, drops: Drops, ignored_words: Mapping[str, int]) -> str:
        """Return the card as Markdown."""
        counts = ["utterances", "hours", "speakers"]
        order = {name: n for n, name in enumerate(tasks.names())}
        by_task = sorted(self._by_task.items(), key=lambda item: (order.get(item[0][0], len(order)), item[0]))
        sections = [
            "# Data card",
            _table("Splits", ["split", *counts], _rows(sorted(self._by_split.items()))),
            _table(
                "Corpora and languages",
                ["corpus", "language", "split", *counts],
                _rows(sorted(self._by_origin.items())),
            ),
            _table("Tasks", ["task", "split", *counts], _rows(by_task)),
            _table("Transcripts", ["transcript", "utterances"], sorted((k, str(n)) for k, n in self._texts.items())),
            *(self._label_table(name) for name in sorted(self._labels)),
            self._licence_table(),
            _table(
                "Word times not used", ["corpus", "utterances"], [(c, str(n)) for c, n in ignored_words.items() if n]
            ),
            f"## Drops\n\n{drops.read} read = {drops.used} used + {drops.num_dropped} dropped (ids in drops.json).",
            _table("", ["reason", "defect", "utterances"], _drop_rows(drops)),
        ]
        return "\n\n".join(filter(None, sections)) + "\n"

    def _label_table(self, name: str) -> str:
        counts = self._labels[name]
        splits = sorted({split for _, split in counts})
        labels = sorted({label for label, _ in counts})
        rows = [[label, *(str(counts[label, split]) for split in splits)] for label in labels]
        return _table(f"Label: {name}", [name, *splits], rows)

    def _licence_table(self) -> str:
        rows = [[c, text, str(n)] for c, of_corpus in sorted(self._licences.items()) for text, n in of_corpus.items()]
        return _table("Licences", ["corpus", "licence", "utterances"], rows)


def _rows(tallies: Iterable[tuple[tuple[str, ...], _Tally]]) -> list[list[str]]:
    return [[*key, *tally.cells()] for key, tally in tallies]


def _drop_rows(drops: Drops) -> list[list[str]]:
    return [[name, "yes" if r.defect else "no", str(len(r.ids))] for name, r in sorted(drops.reasons.items())]


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table under a heading, or nothing if there are no rows."""
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
    return f"## {title}\n\n{table}" if title else table
