"""Bytes of a range of a file, wherever it lies: a local path, or an address such as http://... or s3://..."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from osum import log

if TYPE_CHECKING:
    from osum.data.store.remote import Remote

MAX_OPEN_FILES = 64
BUFFER_BYTES = 2**16
REMOTE_BUFFER_BYTES = 2**20
"""Read at once where a file is read piece by piece."""
ATTEMPTS = 4
BACKOFF_S = 0.5
"""Wait after the first failed attempt; each further wait is twice as long."""
TIMEOUT_S = 60.0
"""Longest wait for one answer of a remote store."""
TRANSIENT = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOLINK, errno.EREMOTEIO})
"""What a network file system answers while its server is away; opened again, the file may be there."""

Result = TypeVar("Result")

logger = log.get(__name__)


class StalledError(OSError):
    """A remote store or a file system that gave no answer, or an error, at every attempt."""


class AttemptError(Exception):
    """An attempt that failed for a reason that may pass: the store is silent, busy or broken."""


def is_remote(path: str) -> bool:
    """Tell an address (`scheme://...`) from a local path; whether there is such a store shows when it is read."""
    return "://" in path


def place(folder: Path, path: str) -> str:
    """Return where a path that an index in `folder` names lies: relative ones are in the folder."""
    return path if is_remote(path) else os.path.join(folder, path)


class Storage:
    """Reads ranges; keeps the most recently used local files open, and their number bounded."""

    def __init__(self, attempts: int = ATTEMPTS, backoff_s: float = BACKOFF_S, timeout_s: float = TIMEOUT_S) -> None:
        """Reads are tried so often, with growing waits between; an answer of a remote store may take so long."""
        self._attempts, self._backoff_s, self._timeout_s = attempts, backoff_s, timeout_s
        self._files: OrderedDict[str, int] = OrderedDict()
        weakref.finalize(self, _close, self._files)

    def size(self, path: str) -> int:
        """Return the size of a file, bytes.

        FileNotFoundError if there is none, ValueError if it is no regular file, StalledError if every attempt fails.
        """
        if is_remote(path):
            return self._patiently(path, lambda: self._remote(path).size())
        return self._patiently(path, lambda: self._local(path, lambda descriptor: os.fstat(descriptor).st_size))

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer where the file ends. Errors as `size`."""
        if is_remote(path):
            return self._patiently(path, lambda: self._remote(path).read(offset, size))
        return self._patiently(path, lambda: self._local(path, lambda descriptor: _pread(descriptor, offset, size)))

    def open(self, path: str, offset: int = 0, size: int | None = None) -> io.BufferedReader:
        """Open a file, or a part of one, to read and seek in. Errors as `size`."""
        return io.BufferedReader(
            RangeFile(self, path, offset, size), REMOTE_BUFFER_BYTES if is_remote(path) else BUFFER_BYTES
        )

    def _descriptor(self, path: str) -> int:
        """Open files, the most recently used last."""
        if path not in self._files:
            self._files[path] = _open(path)
            if len(self._files) > MAX_OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
        self._files.move_to_end(path)
        return self._files[path]

    def _remote(self, path: str) -> Remote:
        from osum.data.store.remote import Remote  # on use: local files need no fsspec

        return Remote(path, self._timeout_s)

    def _local(self, path: str, ask: Callable[[int], Result]) -> Result:
        """Ask an open file. AttemptError for what may pass; the next attempt opens the file anew."""
        try:
            return ask(self._descriptor(path))
        except OSError as err:
            if err.errno not in TRANSIENT:
                raise
            if path in self._files:
                os.close(self._files.pop(path))
            raise AttemptError(str(err)) from err

    def _patiently(self, path: str, ask: Callable[[], Result]) -> Result:
        wait_s = self._backoff_s
        for attempt in range(1, self._attempts + 1):
            try:
                return ask()
            except AttemptError as err:
                logger.warning("storage attempt=%d of=%d file=%s error=%s", attempt, self._attempts, path, err)
                last = err
            if attempt < self._attempts:
                time.sleep(wait_s)
                wait_s *= 2
        what = "store" if is_remote(path) else "file system"
        raise StalledError(
            f"{path}: no answer in {self._attempts} attempts ({last}); is the {what} reachable?"
        ) from last


class RangeFile(io.RawIOBase):
    """What `Storage.open` gives, without its buffer."""

    def __init__(self, storage: Storage, path: str, offset: int = 0, size: int | None = None) -> None:
        self._storage, self._path, self._offset = storage, path, offset
        self._size = storage.size(path) - offset if size is None else size
        self._position = 0
        self.failure: OSError | None = None
        """How a read failed: libsndfile, which calls it, knows only that there was nothing to read."""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can seek."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as there are bytes."""
        wanted = max(0, min(len(buffer), self._size - self._position))
        try:
            data = self._storage.read(self._path, self._offset + self._position, wanted) if wanted else b""
        except OSError as err:
            self.failure = err
            raise
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _close(files: OrderedDict[str, int]) -> None:
    while files:
        os.close(files.popitem()[1])


def _pread(descriptor: int, offset: int, size: int) -> bytes:
    # Never more than there is: a damaged size must not take gigabytes of memory.
    left = os.fstat(descriptor).st_size - offset
    return os.pread(descriptor, min(size, left), offset) if left > 0 else b""


def _open(path: str) -> int:
    # Not blocking: opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path}: not a regular file; correct the list that names it")
    return descriptor
