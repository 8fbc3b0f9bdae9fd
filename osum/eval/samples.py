"""Audio as people give it, an array or a file, as the samples that a model hears."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from osum.audio import io as audio_io
from osum.audio.frames import MAX_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES


def samples_of(audio: np.ndarray | str | Path, name: str) -> np.ndarray:
    """Return (num_samples,) float32 at 16 kHz of an array in [-1, 1] at that rate, or of a file at any.

    ValueError for what is unreadable, under 25 ms or over 30 s; `name` is how it calls an array.
    """
    if isinstance(audio, np.ndarray):
        if audio.ndim != 1 or audio.dtype.kind != "f":
            raise ValueError(f"{name}: {audio.dtype} of shape {audio.shape}; give one channel of floats in [-1, 1]")
        samples = audio_io.check(audio.astype(np.float32), name)
    else:
        name = str(audio)
        samples = audio_io.resample(*audio_io.load(audio))
    if not WINDOW_SAMPLES <= len(samples) <= MAX_SAMPLES:
        seconds = len(samples) / SAMPLE_RATE_HZ
        raise ValueError(f"{name}: {seconds:.3f} s at 16 kHz; Whisper hears 0.025 to 30 s, so cut or leave it out")
    return samples
