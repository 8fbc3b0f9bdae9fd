"""Lists of noises and impulse responses: RecordingSets and CutSets of Lhotse, which is not imported, or paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osum.audio import io
from osum.data.sources import lists
from osum.data.store.clips import Clip
from osum.data.store.storage import is_remote

MAX_CHECKED_FILES = 1000
"""So many headers of a list are read before training; more would take seconds on each rank."""


@dataclass(frozen=True)
class AudioFile:
    """One entry of a list: a file, or a part of one."""

    path: str
    clip: Clip

    def length(self) -> tuple[int, int]:
        """Samples at the rate of the file, and the rate in Hz. ValueError naming a file that can't be read."""
        return io.length(self.path, self.clip.start_s, self.clip.duration_s)

    def read(self, start: int = 0, num_samples: int | None = None) -> np.ndarray:
        """(n,) float32 at 16 kHz of all, or of some samples counted at the rate of the file. ValueError as `length`."""
        total, rate_hz = self.length()
        part = self.clip.start_s + start / rate_hz, (total if num_samples is None else num_samples) / rate_hz
        audio, _ = io.load(self.path, *part, mono=self.clip.channel or 0)
        return io.resample(audio, rate_hz)


def read_list(path: Path, root: str | None = None) -> list[AudioFile]:
    """Read a list and some headers. ValueError naming the list and line, or the file, and what to do."""
    found = []
    for part in lists.parts(path):
        for number, line in part.lines:
            try:
                found.append(_entry(line, root))
            except (ValueError, TypeError, KeyError, AttributeError, IndexError) as err:
                raise ValueError(f"{path}:{number}: not an audio file of a list ({err}); correct or remove it") from err
    if not found:
        raise ValueError(f"{path}: names no audio file; fill it, or leave it out of data.augment")
    _check_headers(path, found)
    return found


def _check_headers(path: Path, files: Sequence[AudioFile]) -> None:
    for i in np.unique(np.linspace(0, len(files) - 1, min(len(files), MAX_CHECKED_FILES)).astype(int)):
        try:
            files[i].length()
        except ValueError as err:
            raise ValueError(f"{path}: {err}; or correct data.augment's root") from err


def _entry(line: bytes, root: str | None) -> AudioFile:
    obj = lists.json_object(line)
    if obj is None:
        if line.lstrip().startswith(b"{"):
            raise ValueError("not a JSON object in UTF-8")
        return _file(line.decode("utf-8").strip(), root, Clip(channel=0))
    if "recording" in obj:
        channel = obj.get("channel", 0)
        channel = channel[0] if isinstance(channel, list) else channel
        source, at = _source(obj["recording"], channel)
        return _file(source, root, Clip(float(obj["start"]), float(obj["duration"]), at))
    if "sources" in obj:
        source, at = _source(obj, obj["sources"][0]["channels"][0])
        return _file(source, root, Clip(channel=at))
    if "path" not in obj:
        raise ValueError("without path, recording or sources")
    return _file(obj["path"], root, Clip(channel=0))


def _source(recording: dict[str, Any], channel: int) -> tuple[str, int]:
    """Return the file of a Lhotse recording that has a channel, and the channel's number in it."""
    if any(transform.get("name") != "Resample" for transform in recording.get("transforms") or ()):
        raise ValueError("a recording with transforms of its audio")
    source = next((s for s in recording["sources"] if channel in s["channels"]), None)
    if source is None or source["type"] != "file":
        raise ValueError(f"channel {channel} of its recording is in no file")
    return source["source"], source["channels"].index(channel)


def _file(path: str, root: str | None, clip: Clip) -> AudioFile:
    resolved = lists.resolve(path, root)
    if is_remote(resolved):
        raise ValueError(f"{resolved} is no local file")
    return AudioFile(resolved, clip)
