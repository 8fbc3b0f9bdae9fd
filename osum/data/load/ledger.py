"""What became of every utterance of an epoch: rows planned = used + dropped by reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from osum import log
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.load.ledger_file import Drop, Entry, Pair
from osum.data.plan.planner import EpochPlan, Planner
from osum.data.store.index import Index
from osum.outputs import atomic_write

FEW_DEFECTS = 10
"""Drops that never stop a run: in a small corpus one is more than a hundredth."""
MAX_LISTED = 1_000
"""Keys that are listed for one reason; all are counted."""
MAX_PLANNED_AGAIN = 1_000_000
"""Rows that are planned a second time, in about a second, to compare with what the ranks asked for."""

logger = log.get(__name__)


def check_defects(num_dropped: int, num_planned: int, max_rate: float, where: str) -> None:
    """ValueError naming the remedy if too many were dropped: what is left would not be the corpus that was meant."""
    if num_dropped > max(FEW_DEFECTS, max_rate * num_planned):
        share = f"{num_dropped / num_planned:.1%} > {max_rate:.1%}"
        raise ValueError(
            f"{where}: {num_dropped} of {num_planned} utterances could not be used ({share}); the log names them "
            "(`data skip`). Repair or index the data again, or raise data.max_defect_rate"
        )


def summary(planner: Planner, planned: EpochPlan) -> str:
    """Return one line of `key=value` on an epoch: sizes, how full the packs are, what was left out and why.

    Utterances, audio and fill are expectations: no row is read for them.
    """
    tokens, samples, _ = planner.survey.sums.sum(axis=(1, 2))
    cfg, audio_s, num_packs = planner.cfg, samples / SAMPLE_RATE_HZ, planned.num_steps * planned.virtual_ranks
    dropped = " ".join(f"{reason}={len(rows)}" for reason, rows in planned.dropped.items() if len(rows))
    unfit = " ".join(f"too_long.{task}={count}" for task, count in planned.unfit_pairs.items())
    return " ".join(
        [
            f"steps={planned.num_steps} utterances={planner.survey.num_items:.0f} audio_h={audio_s / 3600:.2f}",
            f"token_fill={tokens / (num_packs * cfg.max_tokens):.3f}",
            f"audio_fill={audio_s / (num_packs * cfg.max_audio_s):.3f}",
            *filter(None, (dropped, unfit)),
        ]
    )


@dataclass
class EpochLedger:
    """Of one epoch: rows planned = used + dropped by reason, by corpus and task; and rows that are in no plan."""

    epoch: int
    num_steps: int
    """Steps of the epoch."""
    steps_noted: Fraction
    """Steps of which the ranks have noted what they did; fewer if the epoch was begun with another plan or version."""
    planned: Counter[Pair]
    used: Counter[Pair]
    dropped: dict[str, list[Drop]]
    """By reason; all of them are defects."""
    left_out: dict[str, Counter[str]]
    """Reason -> rows by corpus that are in no plan."""
    left_out_keys: dict[str, list[str]]
    """The first MAX_LISTED of them."""
    notes: dict[str, list[str]]
    """Remark -> keys of rows that were used, but not as asked for."""

    @property
    def read(self) -> int:
        """Rows planned, and rows left out."""
        return self.planned.total() + sum(of.total() for of in self.left_out.values())

    @property
    def num_used(self) -> int:
        """Rows trained on; a repetition counts."""
        return self.used.total()

    @property
    def num_defects(self) -> int:
        """Rows that were planned and dropped."""
        return sum(map(len, self.dropped.values()))

    def lines(self) -> Iterator[str]:
        """Yield a line of `key=value` for each corpus and task, for the rows left out of each corpus, and for all."""
        for (corpus, task), (planned, used, reasons) in self._table().items():
            counts = f"planned={planned} used={used} dropped={reasons.total()}"
            yield f"ledger epoch={self.epoch} corpus={corpus} task={task} {counts}{_joined(reasons)}"
        for corpus, reasons in self._left_out_of().items():
            yield f"ledger epoch={self.epoch} corpus={corpus} left_out={reasons.total()}{_joined(reasons)}"
        yield f"epoch={self.epoch} read={self.read} used={self.num_used} defects={self.num_defects}"

    def check(self) -> None:
        """ValueError naming corpora and tasks where planned is not used + dropped, or if steps are noted twice."""
        if self.steps_noted > self.num_steps:
            raise self._error(f"{float(self.steps_noted):g} steps are noted, but it has {self.num_steps}")
        wrong = [
            f"corpus {corpus}, task {task}: planned {planned}, used {used}, dropped {reasons.total()}{_joined(reasons)}"
            for (corpus, task), (planned, used, reasons) in self._table().items()
            if planned != used + reasons.total()
        ]
        if wrong:
            raise self._error(f"planned rows are not used + dropped; {'; '.join(wrong)}")

    def check_defects(self, max_rate: float) -> None:
        """ValueError if more than this share of the planned rows was dropped; FEW_DEFECTS always may be."""
        check_defects(self.num_defects, self.planned.total(), max_rate, f"epoch {self.epoch}")

    def check_planned(self, wanted: Counter[Pair]) -> None:
        """ValueError naming corpora and tasks where the rows that the ranks asked for are not those of the plan."""
        wrong = [
            f"corpus {corpus}, task {task}: {wanted[corpus, task]} in the plan, {self.planned[corpus, task]} asked for"
            for corpus, task in sorted(wanted | self.planned)
            if wanted[corpus, task] != self.planned[corpus, task]
        ]
        if wrong:
            raise self._error(f"the ranks did not follow the plan; {'; '.join(wrong)}")

    def to_json(self) -> dict[str, Any]:
        """Return totals as `Drops.to_json` does, and `corpora`: what was left out and the tasks of each.

        No more than MAX_LISTED keys stand beside a count.
        """
        dropped = {
            reason: {"count": len(drops), "defect": True, "ids": [d.key for d in drops[:MAX_LISTED]]}
            for reason, drops in self.dropped.items()
        }
        for reason, of in self.left_out.items():
            dropped[reason] = {"count": of.total(), "defect": False, "ids": self.left_out_keys[reason]}
        corpora: dict[str, Any] = {}
        for (corpus, task), (planned, used, reasons) in self._table().items():
            counts = {"planned": planned, "used": used, "dropped": dict(sorted(reasons.items()))}
            corpora.setdefault(corpus, {"left_out": {}, "tasks": {}})["tasks"][task] = counts
        for corpus, reasons in self._left_out_of().items():
            corpora.setdefault(corpus, {"left_out": {}, "tasks": {}})["left_out"] = dict(sorted(reasons.items()))
        totals = {"read": self.read, "used": self.num_used, "dropped": dict(sorted(dropped.items()))}
        complete = self.steps_noted == self.num_steps
        notes = {remark: {"count": len(keys), "ids": keys[:MAX_LISTED]} for remark, keys in self.notes.items()}
        named = {"notes": notes} if notes else {}
        return {**totals, **named, "complete": complete, "corpora": dict(sorted(corpora.items()))}

    def save(self, path: Path) -> None:
        """Write the ledger as JSON, whole or not at all."""
        atomic_write(path, json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n")

    def _table(self) -> dict[Pair, tuple[int, int, Counter[str]]]:
        """By corpus and task: planned, used, and dropped by reason."""
        reasons: dict[Pair, Counter[str]] = {}
        for reason, drops in self.dropped.items():
            for d in drops:
                reasons.setdefault((d.corpus, d.task), Counter())[reason] += 1
        pairs = sorted(self.planned.keys() | self.used.keys() | reasons.keys())
        return {pair: (self.planned[pair], self.used[pair], reasons.get(pair, Counter())) for pair in pairs}

    def _left_out_of(self) -> dict[str, Counter[str]]:
        corpora: dict[str, Counter[str]] = {}
        for reason, of in self.left_out.items():
            for corpus, count in of.items():
                corpora.setdefault(corpus, Counter())[reason] += count
        return dict(sorted(corpora.items()))

    def _error(self, what: str) -> ValueError:
        return ValueError(f"epoch {self.epoch} does not add up: {what}. See ledger.*.jsonl in the folder of the run")


def epoch_ledger(index: Index, planned: EpochPlan, epoch: int, entries: Iterable[Entry]) -> EpochLedger:
    """Account for a finished epoch from what all ranks have noted. ValueError if it does not add up.

    An epoch that is not noted from beginning to end is not compared with its plan, which is logged.
    """
    entries = list(entries)
    found = EpochLedger(
        epoch,
        planned.num_steps,
        sum((Fraction(e.end - e.first, e.num_ranks) for e in entries), Fraction(0)),
        sum((e.planned for e in entries), Counter()),
        sum((e.used for e in entries), Counter()),
        _by_reason(d for e in entries for d in e.dropped),
        {reason: _by_corpus(index, rows) for reason, rows in planned.dropped.items() if len(rows)},
        {reason: [index.key(int(row)) for row in rows[:MAX_LISTED]] for reason, rows in planned.dropped.items()},
        _by_remark(note for e in entries for note in e.noted),
    )
    found.check()
    if found.steps_noted < found.num_steps:
        noted = f"epoch={epoch} steps={float(found.steps_noted):g} of={found.num_steps}"
        logger.warning("ledger incomplete %s: was the epoch begun by an older version, or with other settings?", noted)
    # To name where it differs, all of the epoch is planned again; for a large one only if something does differ.
    elif planned.num_items <= MAX_PLANNED_AGAIN or planned.num_items != found.planned.total():
        found.check_planned(_planned_pairs(index, planned))
    return found


def _by_reason(drops: Iterable[Drop]) -> dict[str, list[Drop]]:
    """Each drop once, sorted, so that neither the number of ranks nor who was first matters."""
    reasons: dict[str, list[Drop]] = {}
    for d in sorted({(d.step, d.key, d.task, d.copy): d for d in drops}.values(), key=lambda d: d[1:4]):
        reasons.setdefault(d.reason.partition(":")[0], []).append(d)
    return dict(sorted(reasons.items()))


def _by_remark(notes: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    remarks: dict[str, list[str]] = {}
    for key, remark in sorted(notes):
        remarks.setdefault(remark.partition(":")[0], []).append(key)
    return dict(sorted(remarks.items()))


def _by_corpus(index: Index, rows: np.ndarray) -> Counter[str]:
    counts = np.bincount(index.rows["corpus"][rows], minlength=len(index.header.corpora))
    return Counter({name: int(n) for name, n in zip(index.header.corpora, counts, strict=True) if n})


def _planned_pairs(index: Index, planned: EpochPlan) -> Counter[Pair]:
    """Count the items of all packs by corpus and task."""
    shape = (len(index.header.corpora), len(planned.task_names))
    counts = np.zeros(shape, dtype=np.int64)
    for packs in planned.packs():
        np.add.at(counts, (index.rows["corpus"][packs.rows], packs.tasks), 1)
    pairs = zip(*np.nonzero(counts), strict=True)
    return Counter({(index.header.corpora[c], planned.task_names[t]): int(counts[c, t]) for c, t in pairs})


def _joined(reasons: Counter[str]) -> str:
    return "".join(f" {reason}={count}" for reason, count in sorted(reasons.items()))
