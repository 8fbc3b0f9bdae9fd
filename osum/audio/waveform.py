"""What is done to samples, whatever they hold."""

from __future__ import annotations

import numpy as np


def within_full_scale(audio: np.ndarray) -> np.ndarray:
    """(N,) -> (N,) in [-1, 1]: quieter as a whole where it would clip, else as it is."""
    peak = float(np.abs(audio).max(initial=0.0))
    return audio / np.float32(peak) if peak > 1.0 else audio
