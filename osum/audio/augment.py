"""SpecAugment and SpecSub on batched features; every draw comes from the generator of its utterance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor  # a stage reads its options without torch


@dataclass
class SpecAugmentConfig:
    """Masks drawn per utterance. Paper and original: 2 x F10, 2 x T50, SpecSub 3 x 30."""

    num_freq_masks: int = 2
    """Frequency masks per utterance."""
    max_freq_bins: int = 10
    """Largest width of a frequency mask, mel bins."""
    num_time_masks: int = 2
    """Time masks per utterance."""
    max_time_frames: int = 50
    """Largest width of a time mask, frames of 10 ms."""
    max_time_share: float = 0.2
    """Largest width of one time mask as a share of the utterance, so that short ones stay audible."""
    num_substitutions: int = 3
    """SpecSub: pieces replaced by earlier ones."""
    max_substitution_frames: int = 30
    """Largest piece replaced, frames of 10 ms."""


def spec_augment(mel: Tensor, mel_lens: Tensor, rngs: Sequence[np.random.Generator], cfg: SpecAugmentConfig) -> Tensor:
    """(B, n_mels, T) -> a masked copy. SpecAugment is arXiv 1904.08779, SpecSub arXiv 2203.15455 (section 3.2)."""
    out = mel.clone()
    for i, (length, rng) in enumerate(zip(mel_lens.tolist(), rngs, strict=True)):
        _substitute(out[i], mel[i], length, rng, cfg)
        _mask(out[i], length, rng, cfg)
    return out


def _substitute(out: Tensor, source: Tensor, length: int, rng: np.random.Generator, cfg: SpecAugmentConfig) -> None:
    for _ in range(cfg.num_substitutions):
        width = int(rng.integers(1, min(cfg.max_substitution_frames, max(length // 4, 1)) + 1))
        start = int(rng.integers(0, length - width + 1))
        back = int(rng.integers(0, start + 1))
        out[:, start : start + width] = source[:, start - back : start - back + width]


def _mask(out: Tensor, length: int, rng: np.random.Generator, cfg: SpecAugmentConfig) -> None:
    # Features of Whisper are about zero-mean after (x + 4) / 4, so 0 hides without standing out.
    widest = min(cfg.max_time_frames, int(length * cfg.max_time_share))
    for _ in range(cfg.num_time_masks):
        width = int(rng.integers(0, widest + 1))
        start = int(rng.integers(0, length - width + 1))
        out[:, start : start + width] = 0.0
    for _ in range(cfg.num_freq_masks):
        width = int(rng.integers(0, cfg.max_freq_bins + 1))
        start = int(rng.integers(0, out.shape[0] - width + 1))
        out[start : start + width, :length] = 0.0
