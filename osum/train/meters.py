"""What training tells of itself: sums per task between two reports, one JSON line per report."""

from __future__ import annotations

import json
import math
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from osum import dist
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.model.losses import Loss
from osum.outputs import atomic_write
from osum.types import Batch

MEASURED = frozenset({"wall_s", "eta_s", "audio_s_per_s", "tokens_per_s", "mfu", "data_wait", "memory_gb"})
"""What a run that does the same again reports differently: times and memory."""
T = TypeVar("T")
COLUMNS = ("nll", "tokens", "correct")


class Meter:
    """Sums over micro-batches, reduced over ranks only when they are read."""

    def __init__(
        self,
        tasks: tuple[str, ...],
        flop_of: Callable[[Batch], float] = lambda _: 0.0,
        peak_flop_per_s: float = math.nan,
    ) -> None:
        """`flop_of` counts what a batch costs; the peak of this rank's device is NaN where it is not known."""
        self._tasks = {name: n for n, name in enumerate(tasks)}
        self._flop_of, self._peak_flop_per_s = flop_of, peak_flop_per_s
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        self._sums = torch.zeros(len(self._tasks), len(COLUMNS), dtype=torch.float64)
        self._ctc = torch.zeros(2, dtype=torch.float64)
        self._audio_s = torch.zeros(1, dtype=torch.float64)
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._since_s, self._waited_s, self._flop = time.monotonic(), 0.0, 0.0

    def add(self, batch: Batch, loss: Loss) -> None:
        """Add one micro-batch. Its losses stay on their device until they are read: nothing waits for them here."""
        rows = torch.tensor([self._tasks[t] for t in batch.tasks])
        columns = torch.stack([loss.nll.detach(), loss.num_tokens, loss.num_correct], dim=1)
        self._pending.append((rows, columns, loss.ctc.detach()))
        self._ctc[1] += 0 if batch.ctc_lens is None else int(batch.ctc_lens.sum())
        self._audio_s += int(batch.audio_lens.sum()) / SAMPLE_RATE_HZ
        self._flop += self._flop_of(batch)

    def _sum_up(self) -> None:
        for rows, columns, ctc in self._pending:
            self._sums.index_add_(0, rows, columns.cpu().double())
            self._ctc[0] += ctc.cpu().double()
        self._pending = []

    def sums(self) -> list[list[float]]:
        """Return what was added on this rank since the last reset, for `add_sums`."""
        self._sum_up()
        return [t.flatten().tolist() for t in (self._sums, self._ctc, self._audio_s)]

    def add_sums(self, sums: list[list[float]]) -> None:
        """Add what another meter of the same tasks had summed, before anything else."""
        assert not self._pending
        for mine, theirs in zip((self._sums, self._ctc, self._audio_s), sums, strict=True):
            mine += torch.tensor(theirs, dtype=torch.float64).reshape(mine.shape)

    def waiting(self, steps: Iterable[T]) -> Iterator[T]:
        """Pass on what a loader yields, and count the time that it takes to come."""
        iterator = iter(steps)
        while True:
            started_s = time.monotonic()
            try:
                step = next(iterator)
            except StopIteration:
                return
            self._waited_s += time.monotonic() - started_s
            yield step

    def read(self) -> dict[str, float]:
        """Return means over all ranks: loss and loss.<task> (nats a token), accuracy, ctc (nats a unit)."""
        self._sum_up()
        sums, ctc, audio_s = (dist.all_reduce_sum(t.clone()) for t in (self._sums, self._ctc, self._audio_s))
        nll, tokens, correct = sums.sum(0).tolist()
        values = {"loss": nll / max(tokens, 1), "token_accuracy": correct / max(tokens, 1), "tokens": tokens}
        if ctc[1] > 0:
            values["ctc"] = float(ctc[0] / ctc[1])
        for name, n in self._tasks.items():
            if sums[n, 1] > 0:
                values[f"loss.{name}"] = float(sums[n, 0] / sums[n, 1])
        values["audio_s_per_s"] = float(audio_s) / self._elapsed_s
        return values

    def read_speed(self, num_tokens: float) -> dict[str, float]:
        """Return target tokens a second, the largest share of time that a rank waited for data, its memory in GB.

        And `mfu`, the share of their peak that all devices reached, if all their peaks are known.
        """
        elapsed_s = self._elapsed_s
        worst = dist.all_reduce_max([self._waited_s / elapsed_s, memory_gb()])
        values = {"tokens_per_s": num_tokens / elapsed_s, "data_wait": worst[0], "memory_gb": worst[1]}
        reached = torch.tensor([self._flop / elapsed_s, self._peak_flop_per_s], dtype=torch.float64)
        flop_per_s, peak = dist.all_reduce_sum(reached).tolist()
        return values if math.isnan(peak) else {**values, "mfu": flop_per_s / peak}

    @property
    def _elapsed_s(self) -> float:
        return max(time.monotonic() - self._since_s, 1e-9)


def memory_gb() -> float:
    """Return the most memory that was used so far, in GB: of the GPU, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


class MetricsFile:
    """A file of JSON lines with their steps.

    Lines after the step that a run resumes from are taken back, so that no step stands twice.
    """

    def __init__(self, path: Path, start_step: int) -> None:
        self.path = path
        # Not splitlines(): JSON leaves U+2028 and its like as they are.
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= start_step]
        atomic_write(path, "".join(line + "\n" for line in kept))

    def write(self, **values: Any) -> None:
        """Append one line."""
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(json.dumps(values, ensure_ascii=False) + "\n")
            f.flush()
            os.fsync(f.fileno())  # a checkpoint that outlives its machine must not know more than this file


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")  # a line that a kill cut short


def joined(values: dict[str, Tensor | float]) -> str:
    """Return `key=value` pairs for a log line."""
    return " ".join(f"{k}={float(v):.4g}" for k, v in values.items())
