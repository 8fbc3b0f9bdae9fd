"""Multi-task Whisper, the paper's first step: encoder-decoder on targets with task tags, with an auxiliary CTC head.

Letters: B utterances, L = total decoder positions, E = total encoder frames, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperDecoder

from osum.audio.augment import SpecAugmentConfig
from osum.audio.features import LogMel
from osum.model.attention import IMPLEMENTATION, Segments
from osum.model.encoder import Encoder
from osum.model.losses import Loss, ctc_sum, token_loss
from osum.model.packing import Packing
from osum.types import Batch


class MultitaskWhisper(nn.Module):
    """Whisper's encoder and decoder on packed sequences; padding can't reach the cross-attention, as there is none."""

    def __init__(self, encoder: Encoder, decoder: WhisperDecoder, ctc_head: nn.Linear | None) -> None:
        super().__init__()
        self.log_mel = LogMel(encoder.n_mels)
        self.encoder = encoder
        self.decoder = decoder
        self.decoder.config._attn_implementation = IMPLEMENTATION
        self.head = nn.Linear(encoder.width, decoder.config.vocab_size, bias=False)
        self.head.weight = decoder.embed_tokens.weight  # Whisper ties them
        self.ctc_head = ctc_head

    def forward(
        self,
        batch: Batch,
        augment: SpecAugmentConfig | None = None,
        rngs: Sequence[np.random.Generator] = (),
    ) -> Loss:
        """Return the summed losses of a batch; SpecAugment if asked, drawn from one generator an utterance."""
        frames, memory = self.encoder(*self.log_mel(batch.audio, batch.audio_lens, augment, rngs))
        segments = Packing(batch.segment_lens)
        hidden = self.decode(batch.input_ids, segments, frames, memory)
        ctc = None if self.ctc_head is None else ctc_sum(self.ctc_head(frames), memory, batch)
        return token_loss(hidden, self.head, batch, segments, ctc)

    @property
    def max_positions(self) -> int:
        """Positions of the longest decoder sequence."""
        return self.decoder.max_target_positions

    def blocks(self) -> dict[str, nn.ModuleList]:
        """Return the layers of each part, of which training may recompute or compile some."""
        return {"encoder": self.encoder.whisper.layers, "decoder": self.decoder.layers}

    @property
    def heard(self) -> nn.Module:
        """The module whose vectors the decoder hears."""
        return self.encoder

    def decode(self, input_ids: Tensor, segments: Packing, frames: Tensor, memory: Packing) -> Tensor:
        """Packed token ids (L,) over packed encoder frames (E, D) -> packed hidden states (L, D)."""
        if segments.max_len > self.max_positions:
            raise ValueError(
                f"a decoder sequence of {segments.max_len} tokens exceeds Whisper's "
                f"{self.max_positions}; set plan.max_tokens to that, so that it is left out"
            )
        hidden = self.decoder.embed_tokens(input_ids) + self.decoder.embed_positions.weight[segments.positions]
        hidden = nn.functional.dropout(hidden, self.decoder.dropout, self.training)
        for layer in self.decoder.layers:
            hidden = layer(
                hidden[None], encoder_hidden_states=frames[None], use_cache=False, segments=Segments(segments, memory)
            )[0]
        return self.decoder.layer_norm(hidden)
