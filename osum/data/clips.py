"""Which part of an audio file an utterance is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


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
        numbers = isinstance(obj, dict) and all(v is None or type(v) in (int, float) for v in obj.values())
        if not numbers or set(obj) != {f.name for f in fields(cls)} or not 0 <= (obj["start_s"] or 0) < 1e9:
            raise ValueError("not a clip")
        return cls(**obj)


WHOLE = Clip()
