"""The sums of a meter since its last report, kept beside a checkpoint that was saved between two reports.

A run that goes on from there then reports the same means as one that was never stopped.
"""

from __future__ import annotations

import json
from pathlib import Path

from osum.dist import World
from osum.outputs import atomic_write
from osum.train.meters import Meter


def save(folder: Path, step: int, meter: Meter, world: World) -> None:
    """Write the sums of this rank after so many steps."""
    window = {"step": step, "size": world.size, "sums": meter.sums()}
    atomic_write(_path(folder, world.rank), json.dumps(window))


def restore(folder: Path, step: int, meter: Meter, world: World) -> None:
    """Add what the ranks of the run before had summed up to `step`; nothing if its window ended there.

    The sums of rank r are taken over by rank r modulo the number of ranks, so that every one is added once.
    """
    first = _read(folder, 0)
    if first is None or first["step"] != step:
        return
    for rank in range(world.rank, first["size"], world.size):
        window = _read(folder, rank)
        if window is None or (window["step"], window["size"]) != (step, first["size"]):
            raise ValueError(
                f"{_path(folder, rank)}: not of step {step}; remove {folder}, means of one line will differ"
            )
        meter.add_sums(window["sums"])


def _path(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank:05d}.json"


def _read(folder: Path, rank: int) -> dict | None:
    path = _path(folder, rank)
    return json.loads(path.read_text()) if path.is_file() else None
