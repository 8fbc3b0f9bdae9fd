"""Writing FLAC files."""

import io
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from osum import outputs


def write(path: Path, audio: np.ndarray, rate_hz: int, subtype: Literal["PCM_16", "PCM_24"] = "PCM_16") -> None:
    """Write (num_samples,) mono audio, float in [-1, 1] or int16. OSError naming the file if the disk is full."""
    buffer = io.BytesIO()  # libsndfile alone would only say "System error"
    soundfile.write(buffer, audio, rate_hz, format="FLAC", subtype=subtype)
    with outputs.needing_space(path):
        path.write_bytes(buffer.getvalue())
