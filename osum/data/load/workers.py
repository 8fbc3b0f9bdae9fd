"""Worker processes that load what they are asked for, in order, and that are replaced when one of them dies."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from osum import log

STALLED_S = 600.0
"""Longest wait for one answer, seconds: then the disk hangs, and a named error is better than a silent job."""
POLL_S = 5.0
"""Within so many seconds it shows that a worker has died."""
ATTEMPTS = 2
"""So often a worker of its own may die of a request before it is given up."""

logger = log.get(__name__)


class WorkerDiedError(Exception):
    """A worker process ended without an answer: killed, for example for memory, or crashed."""


def load_in_order(
    dataset: Dataset, requests: Iterable[Any], num_workers: int = 0, pin_memory: bool = False
) -> Iterator[tuple[Any, Any]]:
    """Yield each request with what `dataset[request]` is; with None if workers die of it.

    OSError if nothing comes for STALLED_S.
    """
    requests = iter(requests)
    while True:
        waiting: deque[Any] = deque()
        try:
            for loaded in _pool(dataset, _noted(requests, waiting), num_workers, pin_memory):
                yield waiting.popleft(), loaded
            return
        except WorkerDiedError as err:
            logger.error("data %s: %d requests are loaded one by one, then by new workers", err, len(waiting))
        # Some were in work, or loaded behind the first of them: with a worker for each it shows which is the fatal one.
        for request in waiting:
            yield request, _alone(dataset, request, pin_memory)


def _noted(requests: Iterator[Any], waiting: deque[Any]) -> Iterator[Any]:
    for request in requests:
        waiting.append(request)
        yield request


def _alone(dataset: Dataset, request: Any, pin_memory: bool) -> Any:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return next(_pool(dataset, [request], 1, pin_memory))
        except WorkerDiedError as err:
            logger.error("data %s attempt=%d of=%d", err, attempt, ATTEMPTS)
    return None


def _pool(dataset: Dataset, requests: Iterable[Any], num_workers: int, pin_memory: bool) -> Iterator[Any]:
    """Yield the answers of some workers, until one dies. WorkerDiedError, or OSError as `load_in_order`."""
    loader = DataLoader(
        dataset,
        sampler=requests,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_is,
        worker_init_fn=_start_worker,
        pin_memory=pin_memory,
        prefetch_factor=2 if num_workers else None,
        timeout=POLL_S if num_workers else 0,
    )
    answers = _started(loader)
    since_s = time.monotonic()
    while True:
        try:
            answer = next(answers)
        except StopIteration:
            return
        except RuntimeError as err:
            # torch has no types for these two; after the first one it can be asked again.
            if str(err).startswith("DataLoader timed out"):
                if time.monotonic() - since_s < STALLED_S:
                    continue
                raise OSError(
                    f"no data for {STALLED_S:.0f} s. Is the disk slow or memory short? "
                    "Lower num_workers, then start again"
                ) from err
            if str(err).startswith("DataLoader worker"):
                raise WorkerDiedError(str(err)) from err
            raise
        except (OSError, EOFError) as err:
            # An answer comes from its worker, which may have died meanwhile. What a dataset raised is "Caught ...".
            if num_workers == 0 or str(err).startswith("Caught "):
                raise
            raise WorkerDiedError(f"DataLoader worker gave half an answer ({err!r})") from err
        yield answer
        since_s = time.monotonic()


def _started(loader: DataLoader) -> Iterator[Any]:
    """Start the workers. torch would have the death of one raise an error wherever the main process is just then."""
    before = signal.getsignal(signal.SIGCHLD)
    answers = iter(loader)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return answers


def _as_is(loaded: Any) -> Any:
    return loaded


def _start_worker(worker: int) -> None:
    # Several threads in several workers spin against each other and against the trainer.
    torch.set_num_threads(1)
