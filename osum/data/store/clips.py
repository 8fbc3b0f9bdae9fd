"""Which part of an audio file an utterance is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

MAX_TIME_S = 1e9


@dataclass(frozen=True)
class Clip:
    """A part of an audio file; the default is all of it, channels mixed."""

    start_s: float = 0.0
    duration_s: float | None = None
    """None: to the end."""
    channel: int | None = None
    """Number among the channels of the file; None: the mean of all."""

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, obj: Any) -> Clip:
        """Build from the plain form. ValueError if it is not one."""
        if not isinstance(obj, dict) or set(obj) != {f.name for f in fields(cls)}:
            raise ValueError("not a clip")
        start_s, duration_s, channel = obj["start_s"], obj["duration_s"], obj["channel"]
        times = [start_s] if duration_s is None else [start_s, duration_s]
        # Written so that a time that is not a number fails.
        if not all(type(time) in (int, float) and 0 <= time < MAX_TIME_S for time in times):
            raise ValueError("not a clip: times")
        if channel is not None and type(channel) is not int:
            raise ValueError("not a clip: channel")
        return cls(**obj)


WHOLE = Clip()
