"""Work in processes that each do one thing and end: nothing carries over from one to the next, none is left behind.

A pool would do less: that of multiprocessing waits for ever for a worker that was killed, and the workers of
concurrent.futures wait for ever for a main process that was.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_fresh(function: Callable[[Task], Result], tasks: Iterable[Task], num_procs: int) -> Iterator[Result]:
    """Yield `function` of each task, in order, each from a process of its own; `num_procs` of them at a time.

    Its ValueError or OSError is raised here. OSError too if a process dies without a result, for example for memory.
    """
    running: deque[tuple[BaseProcess, Connection]] = deque()
    try:
        for task in tasks:
            done = [_finish(*running.popleft())] if len(running) == num_procs else []
            running.append(_start(function, task))
            yield from done
        while running:
            yield _finish(*running.popleft())
    finally:
        for process, receiver in running:
            process.terminate()
            receiver.close()
            process.join()


def _start(function: Callable[[Task], Result], task: Task) -> tuple[BaseProcess, Connection]:
    # Forked, so that a process starts in milliseconds: a fresh interpreter would take longer than its task.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(function, task, sender), daemon=True)
    process.start()
    sender.close()
    return process, receiver


def _send(function: Callable[[Task], Result], task: Task, sender: Connection) -> None:
    try:
        result = function(task)
    except (ValueError, OSError) as err:
        result = err
    sender.send(result)


def _finish(process: BaseProcess, receiver: Connection) -> Result:
    try:
        result = receiver.recv()
    except EOFError:
        process.join()
        raise OSError(
            f"a worker process ended with status {process.exitcode} and without a result (out of memory?); "
            "free some memory or lower num_procs, then run again"
        ) from None
    receiver.close()
    process.join()
    if isinstance(result, (ValueError, OSError)):
        raise result
    return result
