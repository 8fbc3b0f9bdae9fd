"""Audio files and bytes in and out: float32 mono at 16 kHz inside, 16-bit PCM or FLAC outside."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from osum.audio.frames import SAMPLE_RATE_HZ

AudioFormat = Literal["flac", "wav"]
Mono = Literal["mix", "first"]


def load(
    source: str | Path | bytes,
    start_s: float = 0.0,
    duration_s: float | None = None,
    mono: Mono = "mix",
    name: str | None = None,
) -> tuple[np.ndarray, int]:
    """Read a file, or the bytes of one, at its own rate: (num_samples,) float32 in [-1, 1] and the rate in Hz.

    `duration_s` None reads to the end. Several channels are averaged (`mix`) or the first is taken (`first`).
    ValueError naming the file (or `name`) if it is unreadable, shorter than asked, empty or not finite.
    """
    name = name or (f"<{len(source)} bytes>" if isinstance(source, bytes) else str(source))
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as f:
            rate_hz = f.samplerate
            f.seek(min(round(start_s * rate_hz), f.frames))
            wanted = -1 if duration_s is None else round(duration_s * rate_hz)
            audio = f.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as err:
        raise ValueError(f"{name}: unreadable audio ({err}); repair the file or take it off the list") from err
    if len(audio) < wanted:
        raise ValueError(
            f"{name}: ends {wanted - len(audio)} samples before {start_s} s + {duration_s} s; correct the times"
        )
    mixed = audio.mean(axis=1) if mono == "mix" and audio.shape[1] > 1 else audio[:, 0]
    return check(mixed, name), rate_hz


def check(audio: np.ndarray, name: str) -> np.ndarray:
    """Return the samples unchanged. ValueError naming the audio if there are none or some are not finite."""
    if audio.shape[0] == 0:
        raise ValueError(f"{name}: no samples; repair the file or take it off the list")
    if not np.isfinite(audio).all():
        raise ValueError(f"{name}: NaN or infinite samples; repair the file or take it off the list")
    return audio


def resample(audio: np.ndarray, rate_hz: int, to_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """(num_samples,) float32 at `rate_hz` -> (ceil(num_samples * to_hz / rate_hz),) float32 at `to_hz`."""
    if rate_hz == to_hz:
        return audio
    from scipy.signal import resample_poly  # on use: importing it takes a second, and shards are at 16 kHz

    common = math.gcd(rate_hz, to_hz)
    return resample_poly(audio, to_hz // common, rate_hz // common).astype(np.float32)


def to_pcm16(audio: np.ndarray) -> np.ndarray:
    """(num_samples,) float in [-1, 1] -> int16, halves rounded away from zero; beyond full scale clips, never wraps."""
    scaled = audio.astype(np.float64) * 32768.0
    return np.clip(np.trunc(scaled + np.copysign(0.5, scaled)), -32768, 32767).astype(np.int16)


def encode(audio: np.ndarray, audio_format: AudioFormat, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """(num_samples,) float32 in [-1, 1] -> the bytes of a mono 16-bit FLAC or WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(audio), rate_hz, format=audio_format.upper(), subtype="PCM_16")
    return buffer.getvalue()
