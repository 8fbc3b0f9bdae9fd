"""Whisper's encoder at the true length of each utterance; transformers' modules and weights, our forward pass.

Letters: B utterances, T mel frames, E = total encoder frames, D width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from osum.audio.frames import MAX_ENCODER_FRAMES, num_encoder_frames
from osum.model.attention import IMPLEMENTATION, Segments
from osum.model.packing import Packing
from osum.model.timeline import Timeline


class Encoder(nn.Module):
    """(B, n_mels, T) log-mel -> packed (E, D) at 50 Hz, without padding to 30 s and without its influence."""

    def __init__(self, whisper: WhisperEncoder) -> None:
        super().__init__()
        self.whisper = whisper
        self.whisper.config._attn_implementation = IMPLEMENTATION
        self.width: int = whisper.config.d_model
        self.n_mels: int = whisper.config.num_mel_bins

    @classmethod
    def from_config(cls, config: WhisperConfig) -> Encoder:
        """Return a randomly initialised encoder."""
        return cls(WhisperEncoder(config))

    def forward(self, mel: Tensor, mel_lens: Tensor) -> tuple[Tensor, Packing]:
        """Return the packed frames and their packing. ValueError beyond the 30 s of Whisper's position table."""
        if int(mel_lens.max()) > 2 * MAX_ENCODER_FRAMES:
            raise ValueError(
                f"{int(mel_lens.max())} mel frames exceed Whisper's {2 * MAX_ENCODER_FRAMES} (30 s); cut the audio"
            )
        axis = Timeline.of(mel_lens, gap=1, multiple=2)
        hidden = axis.spread(Packing(mel_lens).pack(mel.transpose(1, 2)))
        # Gaps must be zero before either convolution: the kernels reach one frame past the end.
        hidden = gelu(self.whisper.conv2(axis.clear(gelu(self.whisper.conv1(hidden)))))
        hidden, packing = axis.strided(2).gather(hidden), Packing(num_encoder_frames(mel_lens))
        hidden = hidden + self.whisper.embed_positions.weight[packing.positions]
        hidden = nn.functional.dropout(hidden, self.whisper.dropout, self.training)
        for layer in self.whisper.layers:
            hidden = layer(hidden[None], None, segments=Segments(packing))[0]
        return self.whisper.layer_norm(hidden), packing
