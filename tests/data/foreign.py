"""Foreign data as others write it: tars member by member, lists, CutSets."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from osum.data.drops import Drops


def speech(num_samples=16_000, rate_hz=16_000, audio_format="WAV", seed=0, channels=1):
    """The bytes of an audio file of seeded noise."""
    noise = 0.1 * np.random.default_rng(seed).standard_normal((num_samples, channels))
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, rate_hz, format=audio_format)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes | str] | list, end_blocks: bool = True) -> Path:
    """Write members in order; a TarInfo in place of a name is taken as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items() if isinstance(members, dict) else members:
            data = content.encode() if isinstance(content, str) else content
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(name, tarfile.TarInfo):
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        length = tar.offset
    path.write_bytes(buffer.getvalue() if end_blocks else buffer.getvalue()[:length])
    return path


def write_list(path: Path, *rows: object) -> Path:
    """Write a list of paths, or of JSON objects."""
    lines = (json.dumps(row, ensure_ascii=False) if isinstance(row, dict) else str(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def reasons(drops: Drops) -> dict[str, int]:
    """Return how many utterances were dropped for each reason."""
    return {name: len(reason.ids) for name, reason in drops.reasons.items()}


def open_below(folder: Path, suffix: str = "") -> list[str]:
    """Return the files in `folder` that this process has open; of others, earlier tests may close some meanwhile."""
    links = (f"/proc/self/fd/{descriptor}" for descriptor in os.listdir("/proc/self/fd"))
    paths = (os.readlink(link) for link in links if os.path.islink(link))
    return sorted(path for path in paths if path.startswith(f"{folder}/") and path.endswith(suffix))
