"""One run in a folder: a lock that ends with its process, and says who has it. And turns at making a file."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

BEAT_S = 10.0
"""Seconds between two signs of life of the owner."""
BEATS_TO_WAIT = 3
"""Without so many signs of life, the owner on another machine is taken for dead."""


@contextmanager
def only_run_in(folder: Path, beat_s: float = BEAT_S) -> Iterator[None]:
    """Keep other processes out of a folder: the lock is beside it, so that the folder may come and go.

    ValueError naming the owner if another run is in it. The system takes the lock from a process that dies. Where it
    keeps no locks across machines, an owner on another machine is dead if its file is not touched for some beats.
    """
    path = folder.with_name(f".{folder.name}.lock")
    with _locked(path, folder) as file:
        _see_that_owner_is_dead(file, folder, beat_s)
        file.seek(0)
        file.truncate()
        since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": since}))
        file.flush()
        ended = threading.Event()
        heart = threading.Thread(target=_beat, args=(file.fileno(), beat_s, ended), daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()
            path.unlink(missing_ok=True)


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Let one process after the other in, so that the first makes a file and the others find it.

    Those of a machine, and all where the file system keeps locks across machines. OSError if beside `path` nothing can
    be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    with open(lock, "a") as file:
        with suppress(OSError):  # a file system without locks: then several make the same
            fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path, folder: Path) -> Iterator[IO[str]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "a+") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise _refusal(folder, _owner(file)) from None
            # The owner before may have removed the file between our opening and locking it.
            if _is_at(path, file):
                yield file
                return


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _see_that_owner_is_dead(file: IO[str], folder: Path, beat_s: float) -> None:
    owner = _owner(file)
    if owner is None or owner.get("host") == socket.gethostname():
        return  # the system has given us the lock: a process of this machine that had it is dead
    # Not the clock of one machine against that of another, but whether the time of the file moves.
    before = os.fstat(file.fileno()).st_mtime_ns
    for _ in range(BEATS_TO_WAIT):
        time.sleep(beat_s)
        if os.fstat(file.fileno()).st_mtime_ns != before:
            raise _refusal(folder, owner)


def _owner(file: IO[str]) -> dict[str, str | int] | None:
    file.seek(0)
    try:
        return json.loads(file.read())
    except ValueError:
        return None  # just made, or cut short by a kill


def _refusal(folder: Path, owner: dict[str, str | int] | None) -> ValueError:
    who = "" if owner is None else f" (host {owner['host']}, pid {owner['pid']}, since {owner['since']})"
    return ValueError(f"{folder}: another run is in it{who}; wait for it or stop it, or choose another out_dir")


def _beat(descriptor: int, beat_s: float, ended: threading.Event) -> None:
    while not ended.wait(beat_s):
        os.utime(descriptor)
