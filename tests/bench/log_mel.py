"""Features as WeNet and the original make them: utterance by utterance."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from osum.audio.frames import HOP_SAMPLES, WINDOW_SAMPLES


def log_mel(audio: Tensor, n_mels: int) -> Tensor:
    """(num_samples,) at 16 kHz -> (T, n_mels) log-mel of Whisper; the filterbank is built anew."""
    filters = mel_filter_bank(WINDOW_SAMPLES // 2 + 1, n_mels, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    window = torch.hann_window(WINDOW_SAMPLES, device=audio.device)
    stft = torch.stft(audio, WINDOW_SAMPLES, HOP_SAMPLES, window=window, return_complex=True)
    mel = torch.from_numpy(filters).to(audio).T @ stft[:, :-1].abs().square()
    log = mel.clamp_min(1e-10).log10()
    return ((torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0).T
