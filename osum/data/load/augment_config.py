"""How the audio of training is varied, besides its speed (`plan.speeds`) and masks on its features (`spec_augment`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class NoiseConfig:
    """Additive noise, music or babble."""

    path: Path
    """Lhotse RecordingSet or CutSet, or audio files one a line: a path, or JSON with `path`; all may be gzipped."""
    root: str | None = None
    """Folder from which relative paths in the list start; null for the working folder, as in Lhotse."""
    probability: float = 0.5
    """Share of the utterances that get it."""
    snr_db: tuple[float, float] = (5.0, 20.0)
    """Smallest and largest ratio of speech to noise, dB of mean power."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        _check("noises", self.probability, "snr_db", self.snr_db)


@dataclass
class ReverbConfig:
    """Reverberation by impulse responses of rooms."""

    path: Path
    """A list as that of noise; of several channels the first is used."""
    root: str | None = None
    """Folder from which relative paths in the list start; null for the working folder, as in Lhotse."""
    probability: float = 0.5
    """Share of the utterances that get it."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        _check("reverb", self.probability)


@dataclass
class VolumeConfig:
    """Louder or quieter speech."""

    probability: float = 1.0
    """Share of the utterances that get it."""
    gain_db: tuple[float, float] = (-18.0, 6.0)
    """Smallest and largest gain, dB; where it would clip it is less."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        _check("volume", self.probability, "gain_db", self.gain_db)


@dataclass
class AugmentConfig:
    """What is done to the audio of training, in this order; nothing by default."""

    reverb: ReverbConfig | None = None
    """Reverberation; null for none."""
    noises: list[NoiseConfig] = field(default_factory=list)
    """Noises, each drawn by itself; empty for none."""
    volume: VolumeConfig | None = None
    """Gain; null for none."""

    @property
    def lists(self) -> list[Path]:
        """Lists of audio files, on which the result of training depends."""
        return [*([self.reverb.path] if self.reverb else []), *(noise.path for noise in self.noises)]


def _check(name: str, probability: float, range_name: str = "", values: tuple[float, float] = (0.0, 0.0)) -> None:
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"augment.{name}.probability is {probability}; it must be from 0 to 1")
    if not -100.0 <= values[0] <= values[1] <= 100.0:
        raise ValueError(f"augment.{name}.{range_name} is {values}; say the smaller first, both from -100 to 100")
