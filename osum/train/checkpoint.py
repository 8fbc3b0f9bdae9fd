"""Checkpoints of a run: what is trained, the optimizer and the number of steps done; atomic, the last k kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from osum import log
from osum.model.store import fill, parameters_of, read_parameters, save_parameters
from osum.outputs import atomic_write, needing_space
from osum.train.optim import Optimizer

EVERYTHING_FROZEN = ""
"""As a pattern it matches every name: checkpoints hold only what is trained."""

logger = log.get(__name__)


def save(folder: Path, step: int, model: nn.Module, optimizer: Optimizer, keep: int) -> None:
    """Write `step-NNNNNNNN` with the state after so many steps, then remove all but the last `keep`.

    OSError naming the folder if there is no room; the checkpoints before stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".*.partial"):
        shutil.rmtree(stale)
    final = folder / f"step-{step:08d}"
    partial = _partial(final)
    partial.mkdir()
    try:
        save_parameters(parameters_of(model, EVERYTHING_FROZEN), partial / "model.safetensors")
        _save_tensors(optimizer.state_dict(), partial / "optimizer.pt")
        atomic_write(partial / "state.json", json.dumps({"step": step}))
        os.replace(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in existing(folder)[:-keep]:
        _remove(old)
    logger.info("checkpoint step=%d path=%s", step, final)


def existing(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / "state.json").is_file())


def resume(folder: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Load the last checkpoint, if any; return the number of steps that it has done.

    ValueError naming it if it is damaged or of another model.
    """
    found = existing(folder)
    if not found:
        return 0
    last = found[-1]
    fill(model, read_parameters(last / "model.safetensors"), str(last), EVERYTHING_FROZEN)
    try:
        optimizer.load_state_dict(torch.load(last / "optimizer.pt", map_location="cpu", weights_only=True))
        step = int(json.loads((last / "state.json").read_text())["step"])
    except (RuntimeError, ValueError, KeyError, EOFError, OSError, UnpicklingError) as err:
        raise ValueError(f"{last}: can't go on from it ({err}); remove it to go on from the one before") from err
    logger.info("resume step=%d path=%s", step, last)
    return step


def _partial(checkpoint: Path) -> Path:
    return checkpoint.with_name(f".{checkpoint.name}.partial")


def _remove(checkpoint: Path) -> None:
    # Under a name that does not count first, so that a kill can't leave half of it under the one that does.
    os.replace(checkpoint, _partial(checkpoint))
    shutil.rmtree(_partial(checkpoint))


def _save_tensors(state: list[dict[str, Any]], path: Path) -> None:
    with needing_space(path), open(path, "wb") as f:
        torch.save(state, f)
        f.flush()
        os.fsync(f.fileno())
