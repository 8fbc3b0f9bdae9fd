"""The speech-understanding language model: encoder, adaptor, LLM, on packed sequences.

Letters: B utterances, L = total LLM positions, S = total speech embeddings, H the LLM's width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedModel

from osum.audio.augment import SpecAugmentConfig
from osum.audio.features import LogMel
from osum.model.adaptor import Adaptor
from osum.model.attention import Segments
from osum.model.encoder import Encoder
from osum.model.frozen import graph_if, is_trained
from osum.model.kv_cache import KvCache
from osum.model.losses import Loss, ctc_sum, token_loss
from osum.model.packing import Packing
from osum.model.sharing import Sharing, share_beginnings
from osum.types import Batch


class SpeechLLM(nn.Module):
    """``[prompt][speech-begin][speech][speech-end][target][end]`` read by an LLM (arXiv 2501.13306, section 3)."""

    def __init__(self, encoder: Encoder, adaptor: Adaptor, llm: PreTrainedModel, ctc_head: nn.Linear | None) -> None:
        super().__init__()
        self.log_mel = LogMel(encoder.n_mels)
        self.encoder = encoder
        self.adaptor = adaptor
        self.llm = llm
        self.boundaries = nn.Embedding(2, llm.config.hidden_size)
        """Speech-begin and speech-end."""
        self.ctc_head = ctc_head
        self.share_prompts = False
        """Whether the loss computes equal prompts of a pack once."""

    def forward(
        self,
        batch: Batch,
        augment: SpecAugmentConfig | None = None,
        rngs: Sequence[np.random.Generator] = (),
    ) -> Loss:
        """Return the summed losses of a batch; SpecAugment if asked, drawn from one generator an utterance."""
        mel, mel_lens = self.log_mel(batch.audio, batch.audio_lens, augment, rngs)
        with graph_if(is_trained(self.encoder)):
            frames, frame_packing = self.encoder(mel, mel_lens)
        with graph_if(is_trained(self.adaptor) or frames.requires_grad):
            speech, speech_packing = self.adaptor(frames, frame_packing)
        segments = Packing(batch.segment_lens)
        sharing = share_beginnings(batch.input_ids, batch.speech_mask, segments) if self.share_prompts else None
        spliced = self.splice(batch.input_ids, batch.speech_mask, speech, speech_packing)
        hidden = self.read(spliced, segments, sharing=sharing)
        ctc = None if self.ctc_head is None else ctc_sum(self.ctc_head(frames), frame_packing, batch)
        return token_loss(hidden, self.llm.lm_head, batch, segments, ctc)

    def train(self, mode: bool = True) -> SpeechLLM:
        """Switch the mode of what is trained; frozen parts stay in evaluation mode, without dropout."""
        super().train(mode)
        for part in self.children():
            part.train(mode and is_trained(part))
        return self

    def blocks(self) -> dict[str, nn.ModuleList]:
        """Return the layers of each part, of which training may recompute or compile some."""
        return {"encoder": self.encoder.whisper.layers, "adaptor": self.adaptor.layers, "llm": self.llm.model.layers}

    @property
    def heard(self) -> nn.Module:
        """The module whose vectors the LLM hears."""
        return self.adaptor

    def embed_speech(self, audio: Tensor, audio_lens: Tensor) -> tuple[Tensor, Packing]:
        """Packed audio (N,) at 16 kHz -> packed speech embeddings (S, H) at 12.5 Hz and their packing."""
        return self.adaptor(*self.encoder(*self.log_mel(audio, audio_lens)))

    def splice(self, input_ids: Tensor, speech_mask: Tensor, speech: Tensor, packing: Packing) -> Tensor:
        """Put ``[begin] speech [end]`` of every utterance where the mask of (L,) says; -> (L, H)."""
        framed = frame_speech(speech, packing, self.boundaries.weight)
        assert int(speech_mask.sum()) == len(framed), (int(speech_mask.sum()), len(framed))
        embedded = self.llm.get_input_embeddings()(input_ids.masked_fill(speech_mask, 0))
        return embedded.index_copy(0, speech_mask.nonzero().squeeze(1), framed.to(embedded.dtype))

    def read(
        self, embeddings: Tensor, segments: Packing, cache: KvCache | None = None, sharing: Sharing | None = None
    ) -> Tensor:
        """Run the LLM over packed (L, H) embeddings; positions start at 0 in every segment. -> (L, H).

        A `cache` is given the keys and values, for what is to follow the segments; one that knows of the `sharing`.
        """
        positions = segments.positions
        if sharing is not None:
            embeddings, positions = embeddings.index_select(0, sharing.kept), positions[sharing.kept]
        hidden = self.llm.model(
            inputs_embeds=embeddings[None],
            # A mapping keeps transformers from building (L, L) masks of its own.
            attention_mask={"full_attention": None},
            position_ids=positions[None],
            past_key_values=cache,
            use_cache=cache is not None,
            segments=Segments(segments, sharing=sharing),
        ).last_hidden_state[0]
        return hidden if sharing is None else hidden.index_select(0, sharing.source)


def frame_speech(speech: Tensor, packing: Packing, boundaries: Tensor) -> Tensor:
    """Packed (S, H) -> packed (S + 2B, H): each utterance between the two boundary embeddings (2, H)."""
    framed_lens = packing.lens + 2
    starts = framed_lens.cumsum(0) - framed_lens
    framed = speech.new_zeros(int(framed_lens.sum()), speech.shape[1])
    framed = framed.index_copy(0, starts[packing.segment_ids] + packing.positions + 1, speech)
    begin, end = boundaries.to(speech.dtype).expand(len(starts), 2, -1).unbind(1)
    return framed.index_copy(0, starts, begin).index_copy(0, starts + framed_lens - 1, end)
