"""Signal steps of the synthesis; every step that moves time moves the word times with it."""

import numpy as np
from scipy.signal import firwin2, lfilter, resample_poly

SAMPLE_RATE_HZ = 16000
_UP = 3


def speed_curve(
    num_samples: int, rate_hz: int, *, tract: float, end_speed: float, tremors: list[tuple[float, float, float]]
) -> np.ndarray:
    """Return (num_samples,) the playing speed at each input sample.

    `end_speed` is reached by a ramp over the last 40 %; each tremor is (frequency in Hz, relative depth, phase).
    """
    t = np.arange(num_samples) / rate_hz
    ramp = np.interp(np.linspace(0, 1, num_samples), [0, 0.6, 0.9, 1], [1, 1, end_speed, end_speed])
    speed = tract * ramp
    for tremor_hz, depth, phase in tremors:
        speed = speed * (1 + depth * np.sin(2 * np.pi * tremor_hz / tract * t + phase))
    return speed


def warp(audio: np.ndarray, rate_hz: int, speed: np.ndarray, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Play (num_samples,) audio at a varying speed, as a tape would, and resample it to 16 kHz.

    Returns the new audio and `times_s` on its clock.
    """
    reached_s = np.concatenate([[0.0], np.cumsum(1 / speed)]) / rate_hz
    num_out = int(reached_s[-1] * SAMPLE_RATE_HZ)
    position = np.interp(np.arange(num_out) / SAMPLE_RATE_HZ, reached_s, np.arange(len(reached_s)))
    highest = min(0.95, 0.92 * SAMPLE_RATE_HZ / rate_hz / float(speed.max()))
    low_pass = firwin2(63, [0, highest, min(1.0, highest * 1.1), 1], [1, 1, 0, 0])
    limited = np.convolve(audio, low_pass, mode="same")
    fine = resample_poly(limited, _UP, 1)
    out = np.interp(position * _UP, np.arange(len(fine)), fine)
    return out, np.interp(times_s * rate_hz, np.arange(len(reached_s)), reached_s)


def tilt(audio: np.ndarray, gain_db: float) -> np.ndarray:
    """Tilt the spectrum linearly up to `gain_db` at 4 kHz and above, 16 kHz audio."""
    taps = firwin2(63, [0, 0.5, 1], [1, 10 ** (gain_db / 20), 10 ** (gain_db / 20)])
    return np.convolve(audio, taps, mode="same")


def envelope(audio: np.ndarray, window_s: float = 0.02) -> np.ndarray:
    """Return (num_samples,) the root mean square over a sliding window of 16 kHz audio."""
    width = int(window_s * SAMPLE_RATE_HZ)
    return np.sqrt(np.maximum(np.convolve(audio**2, np.ones(width) / width, mode="same"), 0))


def tremble(audio: np.ndarray, tremor_hz: float, depth: float, phase: float) -> np.ndarray:
    """Modulate the amplitude of 16 kHz audio by a slow sine; `depth` 1 reaches silence."""
    t = np.arange(len(audio)) / SAMPLE_RATE_HZ
    return audio * (1 - depth * (0.5 + 0.5 * np.sin(2 * np.pi * tremor_hz * t + phase)))


def creak(audio: np.ndarray, creak_hz: float, phase: float) -> np.ndarray:
    """Cut 16 kHz audio into pulses, as a creaky voice does."""
    t = np.arange(len(audio)) / SAMPLE_RATE_HZ
    return audio * (0.08 + 0.92 * np.clip(np.sin(2 * np.pi * creak_hz * t + phase), 0, 1))


def overdrive(audio: np.ndarray, drive: float) -> np.ndarray:
    """Clip softly at `drive` times the level of loud speech: adds harmonics up to the highest frequencies."""
    level = np.sqrt(np.mean(audio**2)) + 1e-9
    return np.tanh(audio / level * drive / 4) * level


def comb(audio: np.ndarray, delay_ms: float, feedback: float = 0.75) -> np.ndarray:
    """Add an echo that repeats every `delay_ms` (16 kHz)."""
    delay = int(delay_ms / 1000 * SAMPLE_RATE_HZ)
    return lfilter([1.0], np.concatenate([[1.0], np.zeros(delay - 1), [-feedback]]), audio)


def colored_noise(num_samples: int, color: str, rng: np.random.Generator) -> np.ndarray:
    """Return (num_samples,) noise of root mean square 1: `white`, `pink`, or `babble` (speech-shaped and uneven)."""
    noise = rng.standard_normal(num_samples)
    if color == "white":
        return noise
    spectrum = np.fft.rfft(noise)
    f = np.maximum(np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ), 20.0)
    spectrum *= f**-0.5 if color == "pink" else (f / 300) / (1 + (f / 300) ** 2)
    noise = np.fft.irfft(spectrum, num_samples)
    if color == "babble":
        t = np.arange(num_samples) / SAMPLE_RATE_HZ
        waves = [np.sin(2 * np.pi * rng.uniform(2, 5) * t + rng.uniform(0, 6.28)) for _ in range(3)]
        noise *= 1 + 0.25 * np.sum(waves, axis=0)
    return noise / (np.sqrt(np.mean(noise**2)) + 1e-12)


def speech_bounds(audio: np.ndarray, floor_db: float = -38.0) -> tuple[int, int]:
    """Return the first and last sample (exclusive) of 16 kHz audio above `floor_db` of its loudest part."""
    level = envelope(audio)
    above = np.flatnonzero(level > level.max() * 10 ** (floor_db / 20))
    return (int(above[0]), int(above[-1]) + 1) if len(above) else (0, len(audio))
