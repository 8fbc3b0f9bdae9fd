"""Reverberation, noise and gain on the audio of training. Every draw comes from the generator of the utterance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from osum.audio.frames import SAMPLE_RATE_HZ
from osum.audio.waveform import add_noise, amplify, looped, reverberate, within_full_scale
from osum.data.load.audio_lists import AudioFile, read_list
from osum.data.load.augment_config import AugmentConfig


class Step(Protocol):
    """One way to change audio."""

    probability: float

    def apply(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(num_samples,) float32 -> as many. ValueError naming a file that can't be used."""


@dataclass(frozen=True)
class Augmentation:
    """Changes of audio, one after the other."""

    steps: tuple[Step, ...]

    def __call__(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(num_samples,) float32 in [-1, 1] -> as many in [-1, 1]. ValueError naming a file that can't be used."""
        for step in self.steps:
            if rng.random() < step.probability:
                audio = step.apply(audio, rng)
        return within_full_scale(audio)


def build(cfg: AugmentConfig) -> Augmentation | None:
    """Read the lists; None if nothing is to be done. ValueError naming a list or file that can't be used."""
    steps: list[Step] = []
    if cfg.reverb:
        steps.append(_Reverb(cfg.reverb.probability, read_list(cfg.reverb.path, cfg.reverb.root)))
    for noise in cfg.noises:
        steps.append(_Noise(noise.probability, read_list(noise.path, noise.root), noise.snr_db))
    if cfg.volume:
        steps.append(_Volume(cfg.volume.probability, cfg.volume.gain_db))
    return Augmentation(tuple(steps)) if steps else None


@dataclass(frozen=True)
class _Reverb:
    probability: float
    files: Sequence[AudioFile]

    def apply(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        file = _draw(self.files, rng)
        response = file.read()
        try:
            return reverberate(audio, response)
        except ValueError as err:
            raise ValueError(f"{file.path}: {err}; take it off the list") from err


@dataclass(frozen=True)
class _Noise:
    probability: float
    files: Sequence[AudioFile]
    snr_db: tuple[float, float]

    def apply(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return add_noise(audio, excerpt(_draw(self.files, rng), len(audio), rng), rng.uniform(*self.snr_db))


@dataclass(frozen=True)
class _Volume:
    probability: float
    gain_db: tuple[float, float]

    def apply(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return amplify(audio, rng.uniform(*self.gain_db))


def excerpt(file: AudioFile, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """(num_samples,) float32 at 16 kHz from a random place of a file, which is repeated if it is shorter."""
    total, rate_hz = file.length()
    needed = -(-num_samples * rate_hz // SAMPLE_RATE_HZ)
    if total > needed:
        return file.read(int(rng.integers(total - needed)), needed)[:num_samples]
    audio = file.read()
    return looped(audio, int(rng.integers(len(audio))), num_samples)


def _draw(files: Sequence[AudioFile], rng: np.random.Generator) -> AudioFile:
    return files[int(rng.integers(len(files)))]
