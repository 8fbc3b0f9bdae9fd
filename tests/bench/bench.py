"""What the benchmarks share: sides in processes of their own, interleaved rounds, and the line of JSON at the end."""

from __future__ import annotations

import ctypes
import gc
import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


class Worker:
    """An object in a process of its own, so that its peak memory is its own and no side warms another's caches."""

    def __init__(self, make: Callable[..., Any], *args: Any) -> None:
        """`make(*args)` builds the object there."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, args), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the object and wait for its result. RuntimeError if it failed (its traceback is shown)."""
        self._pipe.send((method, args))
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the process of {method}() ended; see its traceback above") from None

    def peak_memory_bytes(self) -> int:
        """Largest resident memory of the process so far: Python, torch, weights, optimizer and activations."""
        return self.call("peak_memory_bytes")

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Any, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    served = make(*args)
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(_peak_memory_bytes() if method == "peak_memory_bytes" else getattr(served, method)(*arguments))
        _give_memory_back()


def _give_memory_back() -> None:
    """Leave what is free to the other sides: the allocator would keep each one's peak, and all are there at once."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def _peak_memory_bytes() -> int:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def interleave(sides: Mapping[str, Callable[[int], float]], num_rounds: int) -> dict[str, list[float]]:
    """Call every side once per round with the round's number and collect what it returns: load hits all alike."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(num_rounds):
        for name, run in sides.items():
            found[name].append(run(number))
    return found


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Median over rounds of the ratio within each round."""
    return statistics.median(n / d for n, d in zip(numerators, denominators, strict=True))


def machine() -> dict[str, Any]:
    """Processor, cores, accelerator and torch of this machine, with the load that others put on it."""
    described = {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_1min": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
    return described


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def report(**values: Any) -> None:
    """Print the last line of a benchmark: one JSON object with the machine it ran on."""
    values["date"] = time.strftime("%Y-%m-%d", time.gmtime())
    print(json.dumps(values | {"machine": machine()}, ensure_ascii=False), flush=True)
