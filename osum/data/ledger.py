"""What became of every utterance of an epoch: rows planned = used + dropped by reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.drops import Drops
from osum.data.index import Index
from osum.data.plan import EpochPlan, Planner


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


def epoch_ledger(index: Index, planned: EpochPlan, epoch: int, drop_files: Iterable[Path] = ()) -> Drops:
    """Account for a finished epoch: what the plan left out, and what the loaders of all ranks dropped.

    `drop_files` are those that `TrainLoader` appends to; a step that was run again after a restart counts once.
    """
    drops = Drops(read=planned.num_items)
    for reason, rows in planned.dropped.items():
        drops.read += len(rows)
        for row in rows:
            drops.add(reason, index.key(int(row)))
    for key, reason in sorted(_loader_drops(drop_files, epoch)):
        drops.add(reason, key, defect=True)
    drops.used = drops.read - drops.num_dropped
    return drops


def _loader_drops(drop_files: Iterable[Path], epoch: int) -> set[tuple[str, str]]:
    found = set()
    for path in drop_files:
        if path.is_file():
            lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            found |= {(line["key"], line["reason"].partition(":")[0]) for line in lines if line["epoch"] == epoch}
    return found
