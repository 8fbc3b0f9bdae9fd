"""Whisper's log-mel features, batched, from packed audio, equal for an utterance whatever its batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from osum.audio.augment import SpecAugmentConfig, spec_augment
from osum.audio.frames import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES, num_mel_frames

DYNAMIC_RANGE = 8.0
"""log10 units kept below the loudest bin of an utterance."""


class LogMel(nn.Module):
    """Log-mel of Whisper (n_fft 400, hop 160, slaney filters) at the true length of each utterance."""

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        filters = mel_filter_bank(
            num_frequency_bins=WINDOW_SAMPLES // 2 + 1,
            num_mel_filters=n_mels,
            min_frequency=0.0,
            max_frequency=SAMPLE_RATE_HZ / 2,
            sampling_rate=SAMPLE_RATE_HZ,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)

    @torch.no_grad()
    def forward(
        self,
        audio: Tensor,
        audio_lens: Tensor,
        augment: SpecAugmentConfig | None = None,
        rngs: Sequence[np.random.Generator] = (),
    ) -> tuple[Tensor, Tensor]:
        """Packed (N,) float32 at 16 kHz in [-1, 1] -> (B, n_mels, T) at 100 Hz, 0 beyond each length; lengths (B,).

        With `augment` masked, as drawn from one generator an utterance. ValueError if an utterance is shorter than
        one window (400 samples).
        """
        if int(audio_lens.min()) < WINDOW_SAMPLES:
            raise ValueError(
                f"an utterance of {int(audio_lens.min())} samples is shorter than {WINDOW_SAMPLES}; drop it"
            )
        padded = _reflect_pad(audio.float(), audio_lens)
        frames = padded.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)  # (B, T, 400)
        power = torch.fft.rfft(frames * self.window).abs().square()
        mel_lens = num_mel_frames(audio_lens)
        log_mel = (power[:, : int(mel_lens.max())] @ self.filters).clamp_min(1e-10).log10()
        beyond = torch.arange(log_mel.shape[1], device=audio.device) >= mel_lens[:, None]
        loudest = log_mel.masked_fill(beyond[:, :, None], -torch.inf).amax((1, 2), keepdim=True)
        log_mel = (torch.maximum(log_mel, loudest - DYNAMIC_RANGE) + 4.0) / 4.0
        log_mel = log_mel.masked_fill(beyond[:, :, None], 0.0).transpose(1, 2)
        return log_mel if augment is None else spec_augment(log_mel, mel_lens, rngs, augment), mel_lens


def _reflect_pad(audio: Tensor, audio_lens: Tensor) -> Tensor:
    """(N,) -> (B, N_max + 400): each utterance reflected by half a window at *its own* ends, as a centred STFT does."""
    half = WINDOW_SAMPLES // 2
    place = torch.arange(-half, int(audio_lens.max()) + half, device=audio.device)[None, :]
    last = audio_lens[:, None] - 1
    mirrored = torch.where(place > last, 2 * last - place, place).abs()
    starts = audio_lens.cumsum(0) - audio_lens
    return audio[(mirrored.clamp_max(last) + starts[:, None])]
