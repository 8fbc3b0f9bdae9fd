"""Stopping on request: SIGUSR1 or SIGTERM lets a run finish its step, save, and end with a status of its own.

Clusters send these signals before they take a machine away or a time limit is reached. The status tells a launcher
that the work is saved and goes on, at the same step, when the same command is started again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAVED_EXIT_STATUS = 85
"""Exit status of every rank of a run that was asked to stop, and has saved (Linux names error 85 ERESTART)."""
SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


class Preempted(SystemExit):
    """A run that was asked to stop has saved; uncaught, it ends the process with SAVED_EXIT_STATUS."""

    def __init__(self, step: int) -> None:
        """`step`: the number of steps that the saved checkpoint has done."""
        super().__init__(SAVED_EXIT_STATUS)
        self.step = step


class StopRequest:
    """Whether a signal has asked this process to stop."""

    def __init__(self) -> None:
        self.signal_name: str | None = None

    @property
    def received(self) -> bool:
        """True once a signal came; other ranks may not have theirs yet, so act on what all have agreed upon."""
        return self.signal_name is not None


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Take note of the signals instead of dying of them, until the body ends. Only in the main thread."""
    request, owner_pid = StopRequest(), os.getpid()

    def note(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner_pid:
            request.signal_name = signal.Signals(number).name
        elif number == signal.SIGTERM:
            # A forked worker of the data loader, which has nothing to save and can't otherwise be terminated.
            os._exit(128 + number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
