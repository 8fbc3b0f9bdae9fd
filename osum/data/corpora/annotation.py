"""Manifests to cuts: every utterance becomes a cut in a split, or an entry of the drop ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from lhotse import CutSet, MonoCut

from osum.data.corpora import cuts, splits
from osum.data.corpora.configs import FilterConfig
from osum.data.corpora.cuts import Unusable
from osum.data.corpora.label_maps import LabelMap
from osum.data.corpora.manifests import Entry, read_corpus
from osum.data.drops import Drops
from osum.data.store.shards import check_key


@dataclass
class Annotator:
    """The state of one run over all corpora: what was seen, counted and left out."""

    task_names: Sequence[str]
    filters: FilterConfig
    split: splits.SplitConfig
    labels_dir: Path
    max_cuts: int | None = None
    """Cuts kept of each split."""
    scratch_dir: Path | None = None
    """Where the cuts of one corpus find room for a while; None: the system's folder for such files."""
    drops: Drops = field(default_factory=Drops)
    ignored_words: Counter[str] = field(default_factory=Counter)
    """By corpus, utterances whose word times are not those of the transcript and were removed."""
    _keys: set[str] = field(default_factory=set)
    _num_cuts: Counter[str] = field(default_factory=Counter)

    def annotate_corpus(self, folder: Path) -> Iterator[tuple[str, MonoCut]]:
        """Yield (split, cut) for the usable utterances of a corpus; they wait on disk until the splits are known.

        ValueError if a speaker of the corpus is in two of its splits.
        """
        with TemporaryDirectory(prefix=".annotate-", dir=self.scratch_dir) as scratch:
            usable = Path(scratch) / "cuts.jsonl"
            seen = self._write_usable(folder, usable)
            drawn = splits.draw([speaker for speaker, own in seen if own is None], folder.name, self.split)
            splits.check_speakers((folder.name, speaker, own or drawn[speaker]) for speaker, own in seen)
            for cut in CutSet.from_jsonl_lazy(usable):
                split = _own_split(cut) or drawn[_speaker(cut)]
                if self._num_cuts[split] == self.max_cuts:
                    self.drops.add("beyond max_cuts", cut.id)
                    continue
                self._num_cuts[split] += 1
                self.drops.used += 1
                yield split, cut

    def _write_usable(self, folder: Path, path: Path) -> list[tuple[str, str | None]]:
        """Write the usable cuts of a corpus to `path`; return each speaker once with each split of its own or None."""
        label_map = LabelMap.load(self.labels_dir, folder.name)
        seen: dict[tuple[str, str | None], None] = {}
        with CutSet.open_writer(path) as writer:
            for entry in read_corpus(folder):
                self.drops.read += 1
                try:
                    cut = self._annotate(entry, folder.name, label_map)
                except Unusable as unusable:
                    self.drops.add(str(unusable), entry.id, unusable.defect)
                    continue
                writer.write(cut)
                seen[_speaker(cut), _own_split(cut)] = None
        return list(seen)

    def _annotate(self, entry: Entry, corpus: str, label_map: LabelMap) -> MonoCut:
        if entry.supervision is None or entry.recording is None:
            raise Unusable(entry.defect or "no supervision")
        if entry.id in self._keys:
            raise Unusable("duplicate key")
        self._keys.add(entry.id)
        _check_key(entry.id)
        labelled = cuts.with_canonical_labels(entry.supervision, label_map)
        cleaned = cuts.with_clean_text(labelled, self.filters.strip_punctuation)
        supervision = cuts.with_checked_words(cleaned)
        cut = cuts.with_tasks(cuts.to_cut(entry.recording, supervision, corpus), self.task_names)
        _check_wanted(cut, self.filters)
        self.ignored_words[corpus] += bool(cleaned.alignment) and not supervision.alignment
        return cut


def _check_key(key: str) -> None:
    try:
        check_key(key)
    except ValueError as err:
        raise Unusable(str(err)) from None


def _check_wanted(cut: MonoCut, filters: FilterConfig) -> None:
    if cut.duration < filters.min_duration_s:
        raise Unusable(f"shorter than {filters.min_duration_s} s", defect=False)
    if cut.duration > filters.max_duration_s:
        raise Unusable(f"longer than {filters.max_duration_s} s", defect=False)
    if not cut.custom["tasks"]:
        raise Unusable("serves none of the tasks", defect=False)
    split = _own_split(cut)
    if split not in (None, *splits.SPLITS):
        raise Unusable(f"unknown split {split!r} (expected one of {', '.join(splits.SPLITS)})")


def _own_split(cut: MonoCut) -> str | None:
    return (cut.supervisions[0].custom or {}).get("split")


def _speaker(cut: MonoCut) -> str:
    """Return the speaker; where it is unknown, what was recorded together counts as one speaker."""
    return cut.supervisions[0].speaker or cut.recording_id
