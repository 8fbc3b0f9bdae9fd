"""Where a model comes from: versions, commit and data, written beside it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from osum.outputs import atomic_write

PACKAGES = ("osum", "torch", "transformers", "tokenizers", "peft", "safetensors", "numpy", "lhotse", "soundfile")


def record(folder: Path, data_fingerprints: dict[str, str], corpora: Mapping[str, str]) -> None:
    """Write `versions.json`: Python, packages, commit of the code, fingerprints of the data, corpora with licences."""
    found = {"python": platform.python_version(), "machine": platform.platform(), "commit": commit()}
    found["packages"] = {name: version(name) for name in PACKAGES}
    data = {"data": data_fingerprints, "corpora": dict(corpora)}
    atomic_write(folder / "versions.json", json.dumps({**found, **data}, indent=1) + "\n")


def version(package: str) -> str | None:
    """Return the installed version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the commit of the code, with `-dirty` where files differ from it; None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
