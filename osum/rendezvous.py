"""Where the processes of a job meet: who has come, who is missing, and whether one of them has failed since."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from osum import log

if TYPE_CHECKING:
    from torch.distributed import Store

SAY_EVERY_S = 30.0
"""Seconds between two lines that say who is missing."""
LOOK_EVERY_S = 2.0
"""Seconds between two looks at whether another process has failed; a quarter, at whether all have come."""
LINGER_S = 3 * LOOK_EVERY_S
"""Longest time that a failed process takes to tell the others, and that the one with the store stays, seconds."""
GRACE_S = 90.0
"""Time that a process has to end by itself once another has failed, seconds: a checkpoint may still get its name."""
JOINED, FAILED, HEARD = "osum/joined", "osum/failed", "osum/heard"
"""Keys of the store: how many have come, what happened to one of them, and how many know."""

logger = log.get(__name__)


@dataclass(frozen=True)
class Meeting:
    """A job of `size` processes, of which this is number `rank`."""

    host: str
    port: int
    rank: int
    size: int
    serves: bool
    """Whether this process keeps the store that all of them open."""

    def join(self, timeout_s: float) -> Store:
        """Return the store of the job once all its processes have opened it. TimeoutError naming the missing ones."""
        from torch.distributed import DistError

        if self.rank == 0:
            logger.info("join processes=%d at=%s:%d timeout_s=%.0f", self.size, self.host, self.port, timeout_s)
        end_s = time.monotonic() + timeout_s
        store = self._open(end_s, timeout_s)
        try:
            self._wait_for_all(store, end_s, timeout_s)
        except DistError as err:
            raise ConnectionError(f"rank 0 left {self.host}:{self.port}, where all meet; see its error") from err
        return store

    def _wait_for_all(self, store: Store, end_s: float, timeout_s: float) -> None:
        store.set(f"{JOINED}/{self.rank}", "")
        num_here, say_s = store.add(JOINED, 1), time.monotonic() + SAY_EVERY_S
        while num_here < self.size:
            time.sleep(LOOK_EVERY_S / 4)
            num_here, now_s = store.add(JOINED, 0), time.monotonic()
            if num_here == self.size or now_s < min(say_s, end_s):
                continue
            missing = [rank for rank in range(self.size) if not store.check([f"{JOINED}/{rank}"])]
            if now_s >= end_s:
                raise TimeoutError(
                    f"{num_here} of {self.size} processes came to {self.host}:{self.port} in {timeout_s:.0f} s, "
                    f"missing are the ranks {_shortened(missing)}; their logs or machines say why. Start as many "
                    "processes as WORLD_SIZE says, all with the same MASTER_ADDR and MASTER_PORT"
                )
            logger.info("join waits for ranks=%s of=%d", _shortened(missing), self.size)
            say_s = now_s + SAY_EVERY_S

    def open(self, timeout_s: float, serves: bool = False) -> Store:
        """Return a new connection to the store. torch.distributed.DistError if nobody keeps it."""
        from torch.distributed import TCPStore

        timeout = timedelta(seconds=timeout_s)
        return TCPStore(self.host, self.port, self.size, serves, timeout, wait_for_workers=False, multi_tenant=True)

    def _open(self, end_s: float, timeout_s: float) -> Store:
        from torch.distributed import DistError

        while True:
            left_s = max(1.0, end_s - time.monotonic())
            try:
                return self.open(min(SAY_EVERY_S, left_s), self.serves)
            except DistError as err:
                if self.serves:
                    raise OSError(f"can't listen at {self.host}:{self.port} ({_line(err)}); set MASTER_PORT") from err
                if time.monotonic() >= end_s - 1.0:
                    raise TimeoutError(
                        f"rank {self.rank} of {self.size} found nobody at {self.host}:{self.port} in {timeout_s:.0f} s;"
                        " see that rank 0 is running, and that its address MASTER_ADDR can be reached from here"
                    ) from err
                # An error, because other ranks say nothing else, and rank 0 may not be there to say it.
                logger.error("join rank=%d finds nobody at=%s:%d yet", self.rank, self.host, self.port)
                time.sleep(1.0)


@contextmanager
def failing_together(meeting: Meeting, store: Store) -> Iterator[None]:
    """Tell the other processes if the body fails, and end this one if another does, whatever it is waiting for.

    ConnectionError in place of what an exchange with a process that has failed raises.
    """
    ended, failure, heard = threading.Event(), [], []
    # A connection of its own: on the other one the main thread may be waiting.
    args = (meeting, meeting.open(SAY_EVERY_S), ended, failure, heard)
    watcher = threading.Thread(target=_watch, args=args, daemon=True)
    watcher.start()
    try:
        yield
    except Exception as err:
        failure.append(f"rank {meeting.rank} failed: {_line(err)}")
        ended.set()
        watcher.join(LINGER_S)
        if meeting.serves:
            _linger(meeting, store)
        if heard and isinstance(err, RuntimeError):
            raise ConnectionError(f"rank {meeting.rank} ends because {heard[0]}") from err
        raise
    finally:
        ended.set()
        watcher.join(LINGER_S)  # not for ever: if the machine that keeps the store is lost, nothing answers


def _watch(meeting: Meeting, store: Store, ended: threading.Event, failure: list[str], heard: list[str]) -> None:
    """Look until `ended` whether another has failed; then tell the others of the `failure` here, if there is one."""
    from torch.distributed import DistError

    try:
        while not (ended.wait(LOOK_EVERY_S) or store.check([FAILED])):
            pass
        if (failure or not ended.is_set()) and store.check([FAILED]):
            heard.append(store.get(FAILED).decode())
        elif failure:
            store.set(FAILED, failure[0])
        if heard or failure:
            store.add(HEARD, 1)
    except DistError:
        return  # whoever kept the store has ended: what waits for it will know
    if heard and not ended.is_set():
        logger.error("rank %d ends because %s", meeting.rank, heard[0])
        if not ended.wait(GRACE_S):
            os._exit(1)  # not an exception: the thread that waits for the failed one would never see it


def _linger(meeting: Meeting, store: Store) -> None:
    """Keep the store open until all have heard."""
    end_s = time.monotonic() + LINGER_S
    while store.add(HEARD, 0) < meeting.size and time.monotonic() < end_s:
        time.sleep(LOOK_EVERY_S / 10)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def _shortened(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks[:8])) + (f" and {len(ranks) - 8} more" if len(ranks) > 8 else "")
