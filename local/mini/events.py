"""Vocal events as signals: the seven of the task and knocks, claps and beeps for `other`.

Every function draws one instance from a generator: (num_samples,) float64 at 16 kHz, 0.3 to 1.2 s, peak about 1.
"""

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, sosfilt

from mini.signal import SAMPLE_RATE_HZ


def _time(duration_s: float) -> np.ndarray:
    return np.arange(int(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ


def _band(audio: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    return sosfilt(butter(2, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE_HZ, output="sos"), audio)


def _voiced(f0_hz: np.ndarray, formants_hz: tuple[float, ...]) -> np.ndarray:
    """Return a buzz with the pitch contour (num_samples,) and resonances at the formants."""
    phase = np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    buzz = 2 * (phase % 1) - 1
    return sum(_band(buzz, 0.85 * f, 1.15 * f) for f in formants_hz)


def _fade(audio: np.ndarray, attack_s: float, release_s: float) -> np.ndarray:
    t = np.arange(len(audio)) / SAMPLE_RATE_HZ
    return audio * np.clip(t / attack_s, 0, 1) * np.clip((t[-1] - t) / release_s, 0, 1)


def _silence(duration_s: float) -> np.ndarray:
    return np.zeros(int(duration_s * SAMPLE_RATE_HZ))


def laugh(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """Three to five short `ha`: breath, then a voiced burst, falling in pitch."""
    f0, count, period = 260 * pitch * rng.uniform(0.9, 1.15), int(rng.integers(3, 6)), rng.uniform(0.17, 0.22)
    parts = []
    for i in range(count):
        t = _time(period * 0.55)
        vowel = _voiced(f0 * 0.94**i * (1.08 - 0.5 * t), (750 * pitch**0.5, 1300 * pitch**0.5, 2700))
        breath = _band(rng.standard_normal(int(period * 0.45 * SAMPLE_RATE_HZ)), 900, 3500) * 0.12
        parts += [breath, _fade(vowel, 0.015, 0.05) * 0.9**i]
    return np.concatenate(parts)


def cough(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """One or two explosive noise bursts with a short voiced tail."""
    parts = []
    for _ in range(int(rng.integers(1, 3))):
        t = _time(rng.uniform(0.22, 0.32))
        burst = _band(rng.standard_normal(len(t)), 300, 5000) * np.exp(-t / 0.06) * 2
        tail = _voiced(np.full(len(t), 150 * pitch), (600, 1200)) * np.exp(-(((t - 0.12) / 0.05) ** 2)) * 0.6
        parts += [burst + tail, _silence(rng.uniform(0.06, 0.14))]
    return np.concatenate(parts)


def cry(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A long wail with a slow wobble that falls, broken by sobs."""
    t = _time(rng.uniform(0.8, 1.15))
    fall, wobble = 1.15 - 0.35 * t / t[-1], 1 + 0.06 * np.sin(2 * np.pi * 6.5 * t)
    f0 = 420 * pitch**0.5 * rng.uniform(0.9, 1.1) * fall * wobble
    wail = _voiced(f0, (900, 1500, 3000))
    sobs = 0.55 + 0.45 * np.sign(np.sin(2 * np.pi * rng.uniform(2.6, 3.4) * t))
    return _fade(wail * np.convolve(sobs, np.ones(400) / 400, mode="same"), 0.05, 0.15)


def screaming(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A loud, high, rough, sustained tone."""
    t = _time(rng.uniform(0.6, 1.0))
    rise, rough = 1 + 0.12 * np.minimum(t / 0.15, 1), 1 + 0.02 * np.sin(2 * np.pi * 70 * t)
    f0 = 950 * pitch**0.4 * rng.uniform(0.9, 1.15) * rise * rough
    tone = np.tanh(3 * _voiced(f0, (1400, 2600, 3600))) + 0.15 * _band(rng.standard_normal(len(t)), 1500, 6000)
    return _fade(tone, 0.04, 0.08)


def sigh(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A long falling breath: soft noise whose band sinks."""
    t = _time(rng.uniform(0.7, 1.1))
    noise = rng.standard_normal(len(t))
    fall = t / t[-1]
    breath = _band(noise, 700, 2600) * (1 - fall) + _band(noise, 200, 900) * fall
    voice = _voiced(200 * pitch * (1 - 0.35 * fall), (500, 1000)) * 0.15
    return _fade(breath + voice, 0.12, 0.45)


def throat_clearing(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """Two low rough growls."""
    parts = []
    for duration_s in (rng.uniform(0.18, 0.26), rng.uniform(0.28, 0.42)):
        t = _time(duration_s)
        growl = _voiced(np.full(len(t), 85 * pitch**0.5), (450, 900)) * (0.5 + 0.5 * np.sin(2 * np.pi * 28 * t))
        rough = _band(rng.standard_normal(len(t)), 200, 1200) * (0.5 + 0.5 * np.sin(2 * np.pi * 28 * t)) * 0.5
        parts += [_fade(growl + rough, 0.02, 0.05), _silence(rng.uniform(0.03, 0.07))]
    return np.concatenate(parts)


def sneeze(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A rising voiced intake, a gap, then a hissing burst."""
    t = _time(rng.uniform(0.25, 0.35))
    intake = _voiced(220 * pitch * (1 + 0.8 * t / t[-1]), (700, 1600)) * (t / t[-1]) * 0.5
    u = _time(rng.uniform(0.3, 0.42))
    hiss = _band(rng.standard_normal(len(u)), 2500, 7500) * np.exp(-u / 0.12) * 2
    return np.concatenate([_fade(intake, 0.05, 0.02), _silence(rng.uniform(0.02, 0.05)), _fade(hiss, 0.005, 0.08)])


def other(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """Not a voice: knocks, claps or beeps."""
    kind, count = int(rng.integers(3)), int(rng.integers(2, 5))
    period = rng.uniform(0.16, 0.26)
    parts = []
    for _ in range(count):
        t = _time(period)
        if kind == 0:
            hit = np.sin(2 * np.pi * rng.uniform(150, 190) * t) * np.exp(-t / 0.03)
        elif kind == 1:
            hit = _band(rng.standard_normal(len(t)), 1000, 4500) * np.exp(-t / 0.015)
        else:
            hit = np.sin(2 * np.pi * (1400 if period > 0.2 else 1900) * t) * (t < 0.6 * period)
        parts.append(hit)
    return np.concatenate(parts)


EVENTS: dict[str, Callable[[np.random.Generator, float], np.ndarray]] = {
    "laugh": laugh,
    "cough": cough,
    "cry": cry,
    "screaming": screaming,
    "sigh": sigh,
    "throat clearing": throat_clearing,
    "sneeze": sneeze,
    "other": other,
}
"""Canonical event label -> generator of one instance; `pitch` is that of the speaker relative to a man's."""


def make_event(label: str, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """Return one instance of an event with peak 1, (num_samples,) at 16 kHz."""
    audio = EVENTS[label](rng, pitch)
    return audio / np.abs(audio).max()
