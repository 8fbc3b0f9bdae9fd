"""Where decoding spends its time: work and processor time of the products in each part, and what bounds them.

A product of one weight with one position is two FLOP. The bound is what the same products would take at the rate of
the largest one that the processor is given here; attention, norms and Python come on top.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from osum.eval import speech_model
from osum.model.onednn import product

LARGE = 2048
"""Rows and columns of the product whose rate is the bound."""


@dataclass
class Part:
    """Linear layers and convolutions of one part."""

    gflop: float = 0.0
    cpu_s: float = 0.0
    calls: int = 0


@contextmanager
def measured(model: nn.Module) -> Iterator[dict[str, Part]]:
    """Fill the parts while the model runs: encoder, adaptor, prefix and steps of the LLM, head."""
    parts: dict[str, Part] = defaultdict(Part)
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            started: list[float] = []
            handles += [
                module.register_forward_pre_hook(lambda *_, started=started: started.append(time.process_time())),
                module.register_forward_hook(_counter(name, parts, started)),
            ]
    # The head's products are made block by block, without a call of its layer.
    chooser = speech_model.chooser
    speech_model.chooser = lambda head: _Timed(parts["head"], head, chooser(head))
    try:
        yield parts
    finally:
        speech_model.chooser = chooser
        for handle in handles:
            handle.remove()


@dataclass
class _Timed:
    """The choice of the next token, counted."""

    part: Part
    layer: nn.Linear
    choose: Callable[[Tensor], Tensor]

    def __call__(self, hidden: Tensor) -> Tensor:
        started = time.process_time()
        found = self.choose(hidden)
        self.part.cpu_s += time.process_time() - started
        self.part.gflop += 2e-9 * self.layer.weight.numel() * len(hidden)
        self.part.calls += 1
        return found


def table(parts: dict[str, Part], cpu_s: float, num_texts: int) -> dict[str, dict[str, float]]:
    """Per text and part: GFLOP, milliseconds of processor time, GFLOP a second; all that is no product is `rest`."""
    found = {
        name: {
            "gflop": round(part.gflop / num_texts, 3),
            "cpu_ms": round(1e3 * part.cpu_s / num_texts, 2),
            "gflop_per_cpu_s": round(part.gflop / part.cpu_s, 1),
            "calls": part.calls,
        }
        for name, part in parts.items()
    }
    rest_s = cpu_s - sum(part.cpu_s for part in parts.values())
    gflop, rate = sum(part.gflop for part in parts.values()) / num_texts, large_gflop_per_cpu_s()
    found["rest"] = {"cpu_ms": round(1e3 * rest_s / num_texts, 2)}
    found["all"] = {"gflop": round(gflop, 2), "cpu_ms": round(1e3 * cpu_s / num_texts, 2)}
    found["bound"] = {"gflop_per_cpu_s": round(rate, 1), "cpu_ms": round(1e3 * gflop / rate, 2)}
    return found


def large_gflop_per_cpu_s() -> float:
    """Return the rate of a large float32 product through oneDNN; of all threads, by processor time."""
    left, right = torch.randn(LARGE, LARGE), torch.randn(LARGE, LARGE)

    def cpu_s() -> float:
        started = time.process_time()
        product(left, right)
        return time.process_time() - started

    return 2e-9 * LARGE**3 / min(cpu_s() for _ in range(4))


def _counter(name: str, parts: dict[str, Part], started: list[float]) -> Callable[[nn.Module, Any, Tensor], None]:
    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        part = parts[_part(name, inputs[0])]
        positions = output.numel() // module.weight.shape[0]
        part.cpu_s += time.process_time() - started.pop()
        part.gflop += 2e-9 * module.weight.numel() * positions
        part.calls += 1

    return count


def _part(name: str, hidden: Tensor) -> str:
    """The LLM reads prefixes as one sequence (1, L, H), and steps as (B, 1, H)."""
    if not name.startswith("llm."):
        return name.split(".")[0]
    return "steps" if hidden.shape[-2] == 1 else "prefixes"
