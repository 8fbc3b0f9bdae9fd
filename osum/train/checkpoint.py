"""Checkpoints of a run: what is trained and the optimizer's state, in shards; atomic, the last k and the best k kept.

Every process writes its part as safetensors (torch.distributed.checkpoint), and any number of processes reads them
again. A checkpoint is a folder that got its name when all of it was on disk, so that the last one can always be loaded.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException

from osum import dist, log
from osum.data.load.loader import FIRST_EPOCH, EpochStart
from osum.outputs import DISK_FULL, atomic_write, move_durably
from osum.train.optim import Optimizer

MODEL, OPTIMIZER = "model/", "optimizer/"
"""Prefixes of the tensors of a checkpoint."""
EVERYTHING_FROZEN = ""
"""As a pattern it matches every name: checkpoints hold only what is trained."""
STATE = "state.json"
SCALARS = ("/step",)
"""Ends of the names of tensors without axes: safetensors can't be read in slices without one."""

logger = log.get(__name__)


def path_of(folder: Path, step: int) -> Path:
    """Return where the state after so many steps is."""
    return folder / f"step-{step:08d}"


def begin(checkpoint: Path) -> Path:
    """Return an empty folder to write a checkpoint into, without what earlier runs left half-written."""
    partial = partial_of(checkpoint)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    for stale in checkpoint.parent.glob(".*.partial"):
        shutil.rmtree(stale)
    partial.mkdir()
    return partial


def finish(
    checkpoint: Path,
    step: int,
    metrics: Mapping[str, float],
    passing: bool = False,
    epoch_start: EpochStart = FIRST_EPOCH,
) -> None:
    """Give a checkpoint whose shards are written its name, once all of it is on disk.

    `metrics` are those of the dev set after this step, if it was validated. A `passing` one is of a run that was asked
    to stop: it makes way for the next one, so that the same remain as of a run that was never stopped. `epoch_start` is
    where an epoch begins, in which the next step is or which is before it.
    """
    partial = partial_of(checkpoint)
    sizes = {p.name: p.stat().st_size for p in sorted(partial.iterdir())}
    state = {"step": step, "metrics": dict(metrics), "passing": passing, "epoch_start": epoch_start._asdict()}
    state["files"] = sizes
    atomic_write(partial / STATE, json.dumps(state, indent=1))
    move_durably(partial, checkpoint)
    logger.info("checkpoint step=%d path=%s", step, checkpoint)


def abandon(checkpoint: Path) -> None:
    """Remove what is half-written, if there is any."""
    shutil.rmtree(partial_of(checkpoint), ignore_errors=True)


def existing(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / STATE).is_file())


def prune(folder: Path, keep_last: int, keep_best: Mapping[str, int] | None = None) -> None:
    """Remove all but the last checkpoints, and the best ones by each metric of the dev set."""
    found = existing(folder)
    lasting = [p for p in found if p == found[-1] or not _read_state(p)["passing"]]
    kept = set(lasting[-keep_last:])
    for metric, count in (keep_best or {}).items():
        kept.update(best(folder, metric, count))
    for checkpoint in found:
        if checkpoint not in kept:
            _remove(checkpoint)


def best(folder: Path, metric: str, count: int) -> list[Path]:
    """Return the best checkpoints by a metric of the dev set, best first, the earlier of equal ones.

    The lower the better, but for names that end in `accuracy` or `rank`. ValueError if no checkpoint knows the metric.
    """
    known = {p: _read_state(p)["metrics"] for p in existing(folder)}
    values = {p: metrics[metric] for p, metrics in known.items() if metric in metrics}
    if not values and any(known.values()):
        names = sorted({name for metrics in known.values() for name in metrics})
        raise ValueError(f"{folder}: no checkpoint has the metric {metric!r}; they have {', '.join(names)}")
    return sorted(values, key=values.__getitem__, reverse=metric.endswith(("accuracy", "rank")))[:count]


def resume(folder: Path, optimizer: Optimizer) -> int:
    """Load the last checkpoint, if any; return the number of steps that it has done.

    ValueError naming it if it is damaged or of another model.
    """
    # The main process looks for all: on a network folder the others may not see the last one yet.
    last = dist.agree(max(existing(folder), default=None))
    if last is None:
        return 0
    state = _read_state(last)
    try:
        _load(last, optimizer)
    except (RuntimeError, ValueError, KeyError, OSError, CheckpointException) as err:
        raise ValueError(f"{last}: can't go on from it ({err}); remove it to go on from the one before") from err
    logger.info("resume step=%d path=%s", state["step"], last)
    return state["step"]


def epoch_start(folder: Path, step: int) -> EpochStart:
    """Return where an epoch begins that is not after a step: as the checkpoint of that step says, if it does.

    ValueError naming the checkpoint if it is damaged.
    """
    if step == 0:
        return FIRST_EPOCH
    path = path_of(folder, step)
    found = _read_state(path).get("epoch_start")  # older checkpoints have none
    if found is None:
        return FIRST_EPOCH
    start = EpochStart(**found)
    if start.step > step:
        raise ValueError(f"{path}: damaged (epoch {start.epoch} begins at step {start.step}); remove it")
    return start


def read_parameters(checkpoint: Path) -> dict[str, Tensor]:
    """Return what was trained by name, on the CPU. ValueError naming the checkpoint if it is damaged."""
    return read_tensors(checkpoint, MODEL)


def read_tensors(checkpoint: Path, kind: str) -> dict[str, Tensor]:
    """Return the tensors of MODEL or OPTIMIZER by name, whole, on the CPU. ValueError as there."""
    _read_state(checkpoint)
    found = {name: torch.empty(size) for name, size in _shapes(checkpoint).items() if name.startswith(kind)}
    with _alone_or_not():
        dcp.load(found, storage_reader=dcp.HuggingFaceStorageReader(str(checkpoint)), no_dist=True)
    return {name.removeprefix(kind): value for name, value in found.items()}


def average(checkpoints: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of what was trained, accumulated in float64."""
    total: dict[str, Tensor] = {}
    for checkpoint in checkpoints:
        for name, value in read_parameters(checkpoint).items():
            total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (value / len(checkpoints)).float() for name, value in total.items()}


def state_of(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, as they are: training goes on to change them."""
    model = {MODEL + name: parameter.detach() for name, parameter in optimizer.trained.items()}
    state = {OPTIMIZER + name: value for name, value in optimizer.state().items()}
    return model | {name: value.reshape(1) if name.endswith(SCALARS) else value for name, value in state.items()}


def _load(checkpoint: Path, optimizer: Optimizer) -> None:
    shapes = _shapes(checkpoint)
    _compare({n.removeprefix(MODEL): s for n, s in shapes.items() if n.startswith(MODEL)}, optimizer.trained)
    model = {MODEL + name: parameter.detach() for name, parameter in optimizer.trained.items()}
    state = {
        name: _room_for(name.removeprefix(OPTIMIZER), shape, optimizer.trained)
        for name, shape in shapes.items()
        if name.startswith(OPTIMIZER)
    }
    with _alone_or_not():
        dcp.load(model | state, storage_reader=dcp.HuggingFaceStorageReader(str(checkpoint)))
    optimizer.load_state(
        {n.removeprefix(OPTIMIZER): v.reshape(()) if n.endswith(SCALARS) else v for n, v in state.items()}
    )


@contextmanager
def _alone_or_not() -> Iterator[None]:
    """Let torch not wonder, at every call, whether one process is meant to be alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _compare(found: Mapping[str, torch.Size], wanted: Mapping[str, nn.Parameter]) -> None:
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    shapes = sorted(n for n in wanted.keys() & found.keys() if wanted[n].shape != found[n])
    for kind, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes)):
        if names:
            raise ValueError(f"{len(names)} parameters are {kind}, for example {names[0]}; is it this model's?")


def _room_for(name: str, shape: torch.Size, trained: Mapping[str, nn.Parameter]) -> Tensor:
    parameter = trained.get(name.rsplit("/", 1)[0])
    if parameter is None:
        raise ValueError(f"it has {name}, which is not trained; is it this model's?")
    if name.endswith(SCALARS):
        return torch.zeros(shape, device=parameter.device)
    return torch.zeros_like(parameter)  # sharded as the parameter is


def _shapes(checkpoint: Path) -> dict[str, torch.Size]:
    metadata = dcp.HuggingFaceStorageReader(str(checkpoint)).read_metadata().state_dict_metadata
    return {name: stored.size for name, stored in metadata.items()}


def _read_state(checkpoint: Path) -> dict[str, Any]:
    try:
        state = json.loads((checkpoint / STATE).read_text())
        sizes = {name: (checkpoint / name).stat().st_size for name in state["files"]}
    except (ValueError, KeyError, OSError) as err:
        raise ValueError(f"{checkpoint}: damaged ({err}); remove it to go on from the one before") from err
    for name, size in sizes.items():
        if size != state["files"][name]:
            raise ValueError(
                f"{checkpoint}: damaged ({name} has {size} bytes, not {state['files'][name]}); "
                "remove it to go on from the one before"
            )
    return state


@contextmanager
def naming(checkpoint: Path) -> Iterator[None]:
    """Let an error of writing name the checkpoint and the remedy, as OSError."""
    try:
        yield
    except (CheckpointException, OSError) as err:
        cause = err if isinstance(err, OSError) else next(iter(err.failures.values()))[0]
        is_full = isinstance(cause, OSError) and cause.errno in DISK_FULL
        remedy = "free some space" if is_full else "see that this folder can be written"
        message = f"{checkpoint}: {cause}; {remedy}, then run again: it goes on from the checkpoint before"
        raise OSError(message) from err


def partial_of(checkpoint: Path) -> Path:
    """Return where a checkpoint is written before it gets its name."""
    return checkpoint.with_name(f".{checkpoint.name}.partial")


def _remove(checkpoint: Path) -> None:
    # Under a name that does not count first, so that a kill can't leave half of it under the one that does.
    doomed = partial_of(checkpoint)
    move_durably(checkpoint, doomed)
    shutil.rmtree(doomed)
