"""Planned packs as columns: what the plan hands to the loader, at a few bytes an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from osum.data.examples import Item


@dataclass(frozen=True)
class Packs:
    """Some packs; n items, pack p ends before item `ends[p]`."""

    task_names: tuple[str, ...]
    rows: np.ndarray
    """(n,) row of the index."""
    tasks: np.ndarray
    """(n,) task number."""
    prompts: np.ndarray
    """(n,) which of the prompts of this task and language."""
    copies: np.ndarray
    """(n,) which repetition of the row within the epoch."""
    speeds: np.ndarray
    """(n,) speed, percent."""
    ends: np.ndarray
    """(number of packs,) int64."""

    def __len__(self) -> int:
        return len(self.ends)

    def items(self, pack: int) -> list[Item]:
        """Return the items of one pack."""
        start = int(self.ends[pack - 1]) if pack else 0
        return [
            Item(
                int(self.rows[i]),
                self.task_names[self.tasks[i]],
                int(self.prompts[i]),
                int(self.copies[i]),
                int(self.speeds[i]) / 100,
            )
            for i in range(start, int(self.ends[pack]))
        ]


def joined(of: Sequence[Packs]) -> Packs:
    """Return the packs of all, in order."""
    names = ("rows", "tasks", "prompts", "copies", "speeds")
    columns = (np.concatenate([getattr(p, name) for p in of]) for name in names)
    starts = np.cumsum([0, *(len(p.rows) for p in of[:-1])])
    ends = np.concatenate([p.ends + start for p, start in zip(of, starts, strict=True)])
    return Packs(of[0].task_names, *columns, ends)
