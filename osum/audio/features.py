"""Whisper's log-mel features, batched, from packed audio, equal for an utterance whatever its batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.audio_utils import mel_filter_bank

from osum.audio.augment import SpecAugmentConfig, spec_augment
from osum.audio.frames import HOP_SAMPLES, MAX_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES, num_mel_frames

DYNAMIC_RANGE = 8.0
"""log10 units kept below the loudest bin of an utterance."""


class LogMel(nn.Module):
    """Log-mel of Whisper (n_fft 400, hop 160, slaney filters) at the true length of each utterance.

    With `pad_to_30s` every utterance is followed by silence up to 30 s, as the extractor of transformers has it.
    """

    def __init__(self, n_mels: int, pad_to_30s: bool = False) -> None:
        super().__init__()
        self.pad_to_30s = pad_to_30s
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
        """Packed (N,) at 16 kHz -> (B, n_mels, T) at 100 Hz, 0 beyond each length; lengths (B,).

        The audio is float in [-1, 1] or int16. With `augment` masked, as drawn from one generator an utterance.
        ValueError if an utterance is shorter than one window (400 samples), or longer than `pad_to_30s` pads.
        """
        lens = audio_lens.tolist()
        _check(lens, MAX_SAMPLES if self.pad_to_30s else max(lens))
        pieces = list(_to_float(audio).split(lens))
        if self.pad_to_30s:
            pieces = [pad(piece, (0, MAX_SAMPLES - len(piece))) for piece in pieces]
            audio_lens = torch.full_like(audio_lens, MAX_SAMPLES)
        mel_lens = num_mel_frames(audio_lens)
        log_mel, beyond = _split(self._log_power(pieces), mel_lens)
        loudest = log_mel.masked_fill(beyond, -torch.inf).amax((1, 2), keepdim=True)
        log_mel = (torch.maximum(log_mel, loudest - DYNAMIC_RANGE) + 4.0) / 4.0
        log_mel = log_mel.masked_fill(beyond, 0.0).transpose(1, 2)
        return log_mel if augment is None else spec_augment(log_mel, mel_lens, rngs, augment), mel_lens

    def _log_power(self, pieces: list[Tensor]) -> Tensor:
        """Return (sum (T + 2) - 2, n_mels) log10 power: the frames of each piece and two across its end."""
        joined = torch.cat([_centred(piece) for piece in pieces])
        spectrum = torch.fft.rfft(joined.unfold(0, WINDOW_SAMPLES, HOP_SAMPLES) * self.window)
        # The square of abs() is the same, but takes a root on the way: five times slower.
        power = spectrum.real.square() + spectrum.imag.square()
        return (power @ self.filters).clamp_min(1e-10).log10()


def _check(lens: list[int], longest: int) -> None:
    if min(lens) < WINDOW_SAMPLES:
        raise ValueError(f"an utterance of {min(lens)} samples is shorter than {WINDOW_SAMPLES}; drop it")
    if max(lens) > longest:
        raise ValueError(f"an utterance of {max(lens)} samples is longer than {longest}; cut it or leave pad_to_30s")


def _to_float(audio: Tensor) -> Tensor:
    return audio.float() / 2**15 if audio.dtype == torch.int16 else audio.float()


def _centred(piece: Tensor) -> Tensor:
    """(n,) -> reflected by half a window at its ends, as a centred STFT does, and cut to T + 2 hops.

    So long, its T frames fit, and in a concatenation of such pieces every frame starts at a multiple of the hop.
    """
    half = WINDOW_SAMPLES // 2
    reflected = pad(piece[None], (half, half), mode="reflect")[0]
    return reflected[: (num_mel_frames(len(piece)) + 2) * HOP_SAMPLES]


def _split(frames: Tensor, mel_lens: Tensor) -> tuple[Tensor, Tensor]:
    """(sum (T + 2) - 2, n_mels) -> (B, T_max, n_mels), and where (B, T_max, 1) it is beyond the end."""
    time = torch.arange(int(mel_lens.max()), device=frames.device)
    starts = (mel_lens + 2).cumsum(0) - (mel_lens + 2)
    rows = (starts[:, None] + time).clamp_max(len(frames) - 1)
    return frames[rows], (time >= mel_lens[:, None])[:, :, None]
