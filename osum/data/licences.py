"""The licences of corpora: noted where utterances are annotated, carried along to the card of the trained model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from osum.outputs import atomic_write

UNKNOWN = "unknown"
_NAME = "licences.json"


def write(folder: Path, licences: Mapping[str, Sequence[str]]) -> None:
    """Note the licences that the utterances of each corpus name."""
    atomic_write(folder / _NAME, json.dumps(licences, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def carry(source: Path, target: Path) -> None:
    """Copy what is noted in one folder, if anything is, to another."""
    if (source / _NAME).is_file():
        shutil.copyfile(source / _NAME, target / _NAME)


def read(folder: Path, corpora: Sequence[str]) -> dict[str, str]:
    """Return corpus -> licences as one text, `unknown` where none is noted. ValueError for a damaged file."""
    path = folder / _NAME
    try:
        noted = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return {name: "; ".join(noted.get(name, ())) or UNKNOWN for name in corpora}
    except (ValueError, TypeError, AttributeError) as err:
        raise ValueError(f"{path}: damaged ({err}); make it again with the stage that wrote it") from err
