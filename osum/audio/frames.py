"""The arithmetic from samples to mel frames to encoder frames to speech embeddings. Nobody else divides.

Every function takes an int, a numpy array or a tensor of lengths and returns the same kind.
"""

from __future__ import annotations

from typing import TypeVar

Lens = TypeVar("Lens")

SAMPLE_RATE_HZ = 16_000
HOP_SAMPLES = 160
"""100 mel frames a second."""
WINDOW_SAMPLES = 400
MAX_ENCODER_FRAMES = 1500
"""Rows of Whisper's position table: 30 s at 50 Hz."""
MAX_SAMPLES = MAX_ENCODER_FRAMES * 2 * HOP_SAMPLES
"""The longest utterance that Whisper can hear: 30 s."""


def num_strided_frames(lens: Lens) -> Lens:
    """Frames after a convolution of stride 2: half as many, rounded up."""
    return (lens + 1) // 2  # type: ignore[operator, return-value]


def num_mel_frames(num_samples: Lens) -> Lens:
    """Log-mel frames at 100 Hz; Whisper drops the last frame of the centred STFT."""
    return num_samples // HOP_SAMPLES  # type: ignore[operator, return-value]


def num_encoder_frames(mel_frames: Lens) -> Lens:
    """Encoder frames at 50 Hz after the second convolution (stride 2)."""
    return num_strided_frames(mel_frames)


def num_adaptor_frames(encoder_frames: Lens) -> Lens:
    """Speech embeddings at 12.5 Hz after the adaptor's two strided convolutions."""
    return num_strided_frames(num_strided_frames(encoder_frames))


def num_speech_embeddings(num_samples: Lens) -> Lens:
    """Speech embeddings at 12.5 Hz of an utterance of so many samples."""
    return num_adaptor_frames(num_encoder_frames(num_mel_frames(num_samples)))
