"""Checkpoints of a run: what is trained, the optimizer and the number of steps done; atomic, the last k kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from torch import nn

from osum import log
from osum.model.store import fill, parameters_of, read_parameters, save_parameters
from osum.outputs import atomic_write
from osum.train.optim import Optimizer

EVERYTHING_FROZEN = ""
"""As a pattern it matches every name: checkpoints hold only what is trained."""

logger = log.get(__name__)


def save(folder: Path, step: int, model: nn.Module, optimizer: Optimizer, keep: int) -> None:
    """Write `step-NNNNNNNN` with the state after so many steps, then remove all but the last `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".*.partial"):
        shutil.rmtree(stale)
    final = folder / f"step-{step:08d}"
    partial = folder / f".{final.name}.partial"
    partial.mkdir()
    save_parameters(parameters_of(model, EVERYTHING_FROZEN), partial / "model.safetensors")
    torch.save(optimizer.state_dict(), partial / "optimizer.pt")
    atomic_write(partial / "state.json", json.dumps({"step": step}))
    if final.exists():
        shutil.rmtree(final)
    os.replace(partial, final)
    for old in existing(folder)[:-keep]:
        shutil.rmtree(old)
    logger.info("checkpoint step=%d path=%s", step, final)


def existing(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / "state.json").is_file())


def resume(folder: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Load the last checkpoint, if any; return the number of steps that it has done."""
    found = existing(folder)
    if not found:
        return 0
    last = found[-1]
    fill(model, read_parameters(last / "model.safetensors"), str(last), EVERYTHING_FROZEN)
    optimizer.load_state_dict(torch.load(last / "optimizer.pt", map_location="cpu", weights_only=True))
    step = int(json.loads((last / "state.json").read_text())["step"])
    logger.info("resume step=%d path=%s", step, last)
    return step
