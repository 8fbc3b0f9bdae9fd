"""Training curves as the trainer logs them: `metrics.jsonl`, one JSON object per logged step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osum import log

logger = log.get(__name__)
TASK_PREFIX = "loss."


@dataclass(frozen=True)
class Points:
    """One metric over training: (n,) steps, increasing, and (n,) values."""

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Curves:
    """All numeric metrics of one training stage by (split, name)."""

    series: dict[tuple[str, str], Points]

    def get(self, split: str, name: str) -> Points | None:
        """Return one metric such as ("train", "loss"), or None when it was not logged."""
        return self.series.get((split, name))

    def tasks(self, split: str) -> list[str]:
        """Return the names whose loss was logged on its own (`loss.<name>`), in alphabetical order."""
        return sorted(name.removeprefix(TASK_PREFIX) for s, name in self.series if s == split and TASK_PREFIX in name)

    def last(self, split: str, name: str) -> float | None:
        """Return the last value of a metric, or None."""
        points = self.get(split, name)
        return None if points is None else float(points.values[-1])


def read_curves(path: Path) -> Curves:
    """Read a metrics file. Where a resumed run logged a step again, the later line counts.

    A line that a killed run left half-written is skipped with a warning. ValueError naming file and line for a record
    without step or split.
    """
    series: dict[tuple[str, str], dict[int, float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            logger.warning("report skip file=%s line=%d reason=half-written", path, number)
            continue
        if not isinstance(record, dict) or not {"step", "split"} <= record.keys():
            raise ValueError(
                f"{path}:{number}: a metrics record needs 'step' and 'split'; was it written by the trainer?"
            )
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                series.setdefault((record["split"], name), {})[int(record["step"])] = float(value)
    return Curves({key: _points(values) for key, values in series.items()})


def _points(values: dict[int, float]) -> Points:
    steps = np.array(sorted(values), dtype=np.int64)
    return Points(steps, np.array([values[step] for step in steps.tolist()], dtype=np.float64))
