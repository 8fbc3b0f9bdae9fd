"""A run that stands still ends, with the stacks of all its threads on disk, instead of holding its machines."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osum import log

STALLED_EXIT_STATUS = 86
"""Exit status of a rank that made no progress for the configured time."""

logger = log.get(__name__)


class Watchdog:
    """Counts signs of progress. Every rank has one: what stalls one soon stalls all."""

    def __init__(self) -> None:
        self.last, self.num_signs = "start", 0

    def progress(self, what: str) -> None:
        """Say what was just done."""
        self.last, self.num_signs = what, self.num_signs + 1


@contextmanager
def watching(timeout_s: float, stacks: Path, rank: int) -> Iterator[Watchdog]:
    """End the process with STALLED_EXIT_STATUS when nothing moved for `timeout_s` of its own time; 0 never does.

    The stacks of its threads go to `<stacks>/rank-NNNNN.txt`, and to the log.
    """
    watchdog, ended = Watchdog(), threading.Event()
    if timeout_s:
        args = (watchdog, timeout_s, stacks / f"rank-{rank:05d}.txt", rank, ended)
        threading.Thread(target=_watch, args=args, daemon=True).start()
    try:
        yield watchdog
    finally:
        ended.set()


def _watch(watchdog: Watchdog, timeout_s: float, path: Path, rank: int, ended: threading.Event) -> None:
    seen, silent_s = watchdog.num_signs, 0.0
    while not ended.wait(_interval_s(timeout_s)):
        # Added up, not read off a clock: a scheduler may suspend a job for hours, in which nothing has to move.
        silent_s = silent_s + _interval_s(timeout_s) if watchdog.num_signs == seen else 0.0
        seen = watchdog.num_signs
        if silent_s > timeout_s:
            _end(watchdog, silent_s, timeout_s, path, rank)


def _interval_s(timeout_s: float) -> float:
    return min(timeout_s / 10, 10.0)


def _end(watchdog: Watchdog, silent_s: float, timeout_s: float, path: Path, rank: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"rank {rank} stood still for {silent_s:.0f} s after {watchdog.last}\n")
            f.flush()
            faulthandler.dump_traceback(f, all_threads=True)
        what = (
            "rank=%d stalled: nothing for %.0f s after %s; stacks=%s. The same command goes on from the last checkpoint"
        )
        logger.error(what, rank, silent_s, watchdog.last, path)
        # A launcher ends all when one has ended, and the others come to this point a little later.
        time.sleep(2 * _interval_s(timeout_s))
    finally:
        # Not an exception: the thread that stands still would never see it.
        os._exit(STALLED_EXIT_STATUS)
