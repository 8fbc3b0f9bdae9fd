"""Speed perturbation: audio played faster or slower, pitch and tempo alike, as Kaldi's and torchaudio's `speed`.

Audio at speed 0.9 is taken to have been recorded at 0.9 x 16 kHz, and resampled.
"""

from __future__ import annotations

import numpy as np

from osum.audio import io
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.audio.waveform import within_full_scale


def change_speed(audio: np.ndarray, speed: float) -> np.ndarray:
    """(num_samples,) float32 in [-1, 1] -> (`sped_length`,) that takes 1 / speed of the time."""
    return within_full_scale(io.resample(audio, _rate_hz(speed)))  # resampling overshoots a little


def sped_length(num_samples: io.Count, speed: float) -> io.Count:
    """Samples of what `change_speed` returns, for an int or a numpy array."""
    return io.resampled_length(num_samples, _rate_hz(speed))


def _rate_hz(speed: float) -> int:
    return round(speed * SAMPLE_RATE_HZ)
