"""Stages whose work is cut into parts, side by side: where each part lies until all are put together.

Parts are numbered from 1 to `num_parts`; the number of parts never changes what the stage makes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from osum import outputs


class InParts(Protocol):
    """The config of such a stage."""

    out_dir: Path
    overwrite: bool
    num_parts: int
    part: int | None
    """The part to make; None makes the whole, of the parts if there are several."""

    @property
    def inputs(self) -> Sequence[Path]:
        """Return what the stage reads."""


Config = TypeVar("Config", bound=InParts)


def make(
    cfg: Config,
    make_part: Callable[[Config, Path], None],
    make_whole: Callable[[Config, Path], None],
    resumable: bool = False,
) -> None:
    """Make the part or the whole that is asked for in its `output_dir`, unless it is up to date.

    A part of a whole that is up to date is not made either; once the whole is made its parts go.
    """
    one_of_several = cfg.part is not None and cfg.num_parts > 1
    if one_of_several and outputs.up_to_date(cfg.out_dir, cfg, cfg.inputs, cfg.overwrite):
        return
    folder = folder_of(cfg.out_dir, cfg.part, cfg.num_parts) if one_of_several else cfg.out_dir
    with outputs.output_dir(folder, cfg, cfg.inputs, cfg.overwrite, resumable=resumable) as out:
        if out is not None:
            (make_part if one_of_several else make_whole)(cfg, out)
    if not one_of_several:
        shutil.rmtree(parts_dir(cfg.out_dir), ignore_errors=True)


def check(num_parts: int, part: int | None) -> None:
    """Check the two options. ValueError naming the one that is wrong."""
    if num_parts < 1:
        raise ValueError(f"num_parts is {num_parts}; it must be at least 1")
    if part is not None and not 1 <= part <= num_parts:
        raise ValueError(f"part is {part}; it must lie between 1 and num_parts, {num_parts}")


def parts_dir(out_dir: Path) -> Path:
    """Return the folder of all parts, beside `out_dir`."""
    return out_dir.with_name(f"{out_dir.name}.parts")


def folder_of(out_dir: Path, part: int, num_parts: int) -> Path:
    """Return where a part lies."""
    return parts_dir(out_dir) / f"{part}-of-{num_parts}"


def finished(cfg: InParts) -> list[Path]:
    """Return the folders of all parts. ValueError naming one that is not made, and how to make it."""
    folders = [folder_of(cfg.out_dir, part, cfg.num_parts) for part in range(1, cfg.num_parts + 1)]
    for part, folder in enumerate(folders, start=1):
        if not outputs.up_to_date(folder, cfg, cfg.inputs):
            raise ValueError(f"{folder}: not made yet; run this with --part {part} --num_parts {cfg.num_parts}")
    return folders
