"""What happens to speech in a room: reverberation, noise, another distance. Lengths stay, and nothing clips.

N samples of speech, float32 at 16 kHz.
"""

from __future__ import annotations

import numpy as np


def add_noise(audio: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """(N,) speech and (N,) noise -> (N,) their sum at a ratio of mean powers; speech as it is where one is silent."""
    speech_power, noise_power = power(audio), power(noise)
    if speech_power == 0.0 or noise_power == 0.0:
        return audio
    return audio + np.float32(np.sqrt(speech_power / noise_power) * 10 ** (-snr_db / 20)) * noise


def reverberate(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """(N,) speech and (M,) impulse response of a room -> (N,) of the same power.

    The largest sample of the response is the direct sound, which comes without delay: word times stay. ValueError for
    a silent response.
    """
    from scipy.signal import fftconvolve  # on use: importing it takes a second

    direct = int(np.abs(response).argmax())
    if response[direct] == 0.0:
        raise ValueError("a silent impulse response")
    wet = fftconvolve(audio, response)[direct : direct + len(audio)]
    wet_power = power(wet)
    return (wet * np.sqrt(power(audio) / wet_power) if wet_power else wet).astype(np.float32)


def amplify(audio: np.ndarray, gain_db: float) -> np.ndarray:
    """(N,) -> (N,) louder or quieter."""
    return audio * np.float32(10 ** (gain_db / 20))


def within_full_scale(audio: np.ndarray) -> np.ndarray:
    """(N,) -> (N,) in [-1, 1]: quieter as a whole where it would clip, else as it is."""
    peak = float(np.abs(audio).max(initial=0.0))
    return audio / np.float32(peak) if peak > 1.0 else audio


def looped(audio: np.ndarray, start: int, num_samples: int) -> np.ndarray:
    """(M,) -> (num_samples,) from sample `start` on, over and over."""
    return np.take(audio, np.arange(start, start + num_samples), mode="wrap")


def power(audio: np.ndarray) -> float:
    """Mean square of (N,) samples."""
    return float(np.mean(np.square(audio, dtype=np.float64)))
