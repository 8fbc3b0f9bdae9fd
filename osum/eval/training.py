"""What the report says about the training stages: curves, examples, settings and versions, from their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osum.eval.curves import Curves, read_curves
from osum.eval.document import Block, Gallery, Heading, Listing, Picture, Table
from osum.eval.examples import shown
from osum.eval.plots.curves import training
from osum.eval.tables import ABSENT, number

METRICS = "metrics.jsonl"
EXAMPLES = "examples.jsonl"
CONFIG = "config.yaml"
VERSIONS = "versions.json"


@dataclass(frozen=True)
class TrainingStage:
    """One training stage as its folder describes it; what is not there is None or empty."""

    name: str
    curves: Curves | None
    examples: list[dict[str, Any]]
    """What the model wrote at the last validation, as `examples.jsonl` has it."""
    config: str | None
    versions: dict[str, str]


def read_stage(folder: Path) -> TrainingStage:
    """Read a training folder, of which any part may be absent. ValueError naming the file for what is malformed."""
    config, versions, examples = folder / CONFIG, folder / VERSIONS, folder / EXAMPLES
    return TrainingStage(
        folder.name,
        read_curves(folder / METRICS) if (folder / METRICS).is_file() else None,
        _last_examples(examples) if examples.is_file() else [],
        config.read_text(encoding="utf-8") if config.is_file() else None,
        _read_versions(versions) if versions.is_file() else {},
    )


def files_of(folder: Path) -> list[Path]:
    """Return the files that `read_stage` would read."""
    return [path for name in (METRICS, EXAMPLES, CONFIG, VERSIONS) if (path := folder / name).is_file()]


def _last_examples(path: Path) -> list[dict[str, Any]]:
    # A line that a kill cut short has no end.
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    try:
        rows = [json.loads(line) for line in lines]
        return [row for row in rows if row["step"] == rows[-1]["step"]]
    except (json.JSONDecodeError, KeyError, TypeError) as err:
        raise ValueError(f"{path}: not what training writes ({err!r}); remove it or train again") from err


def _read_versions(path: Path) -> dict[str, str]:
    try:
        versions = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as err:
        raise ValueError(f"{path}: not JSON ({err.msg}); remove it or train again") from err
    if not isinstance(versions, dict):
        raise ValueError(f"{path}: not a JSON object; remove it or train again")
    return _flat(versions)


def _flat(versions: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, version in versions.items():
        if isinstance(version, dict):
            flat.update(_flat(version, f"{prefix}{name}: "))
        else:
            flat[prefix + name] = ABSENT if version is None else str(version)
    return flat


def training_blocks(stages: Sequence[TrainingStage]) -> list[Block]:
    """Return the report's section on training; empty when no stage logged anything."""
    logged = [(stage.name, stage.curves) for stage in stages if stage.curves is not None]
    if not logged:
        return []
    pictures = [Picture(f"curves_{name}", training(name, curves), f"Training of {name}.") for name, curves in logged]
    header = ("stage", "steps", "epochs", "last train loss", "best dev loss", "audio s per s", "minutes logged")
    rows = [_summary(name, curves) for name, curves in logged]
    written = [block for stage in stages if stage.examples for block in _examples(stage)]
    return [Heading(2, "Training"), Table(header, rows, "lrrrrrr"), Gallery(pictures), *written]


def _examples(stage: TrainingStage) -> list[Block]:
    rows = [(e["task"], e["key"], e["reference"], shown(e["hypothesis"], e["truncated"])) for e in stage.examples]
    heading = f"What {stage.name} wrote about the dev set after step {stage.examples[-1]['step']}"
    return [Heading(3, heading), Table(("task", "key", "reference", "model"), rows, "llll")]


def _summary(name: str, curves: Curves) -> tuple[str, ...]:
    loss, dev, speed = curves.get("train", "loss"), curves.get("dev", "loss"), curves.get("train", "audio_s_per_s")
    # Only differences of wall_s mean something: the trainer may count from any moment.
    wall_s, epoch = curves.get("train", "wall_s"), curves.last("train", "epoch")
    return (
        name,
        ABSENT if loss is None else str(loss.steps[-1]),
        number(epoch, 1),
        ABSENT if loss is None else number(float(loss.values[-1]), 3),
        ABSENT if dev is None else number(float(np.nanmin(dev.values)), 3),
        ABSENT if speed is None else number(float(np.nanmedian(speed.values))),
        ABSENT if wall_s is None else number(float(np.ptp(wall_s.values)) / 60, 1),
    )


def setup_blocks(stages: Sequence[TrainingStage]) -> list[Block]:
    """Return the report's section on versions and settings; empty when no stage left any."""
    blocks: list[Block] = []
    versions = {name: version for stage in stages for name, version in stage.versions.items()}
    if versions:
        blocks.append(Table(("what", "version"), list(versions.items()), "ll"))
    blocks += [Listing(f"Settings of {s.name} ({CONFIG})", s.config) for s in stages if s.config]
    return [Heading(2, "Versions and settings"), *blocks] if blocks else []
