"""Text from speech: greedy or beam search of the LLM after prompt and speech, batched, without randomness."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig

from osum.model.packing import Packing
from osum.model.speech_llm import SpeechLLM
from osum.types import Batch


@dataclass(frozen=True)
class Generated:
    """What was written for one utterance."""

    ids: list[int]
    """Token ids, without the end token."""
    truncated: bool
    """True if the limit, not the end token, ended it."""


@torch.inference_mode()
def generate(
    model: SpeechLLM, prefixes: Batch, eos_token_id: int, max_new_tokens: int, num_beams: int = 1
) -> list[Generated]:
    """Continue every prefix of a batch (from `collate_prefixes`) up to the end token or the limit."""
    speech, packing = model.embed_speech(prefixes.audio, prefixes.audio_lens)
    embedded = model.splice(prefixes.input_ids, prefixes.speech_mask, speech, packing)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        num_beams=num_beams,
        do_sample=False,
        eos_token_id=eos_token_id,
        pad_token_id=eos_token_id,
    )
    return extend(model, embedded, Packing(prefixes.segment_lens), config)


@torch.inference_mode()
def extend(model: SpeechLLM, embedded: Tensor, segments: Packing, config: GenerationConfig) -> list[Generated]:
    """Write on after each segment of packed (L, H) embeddings."""
    embeddings, mask = left_pad(embedded, segments)
    written = model.llm.generate(inputs_embeds=embeddings, attention_mask=mask, generation_config=config)
    return [_until_end(ids, config.eos_token_id) for ids in written.tolist()]


def left_pad(packed: Tensor, segments: Packing) -> tuple[Tensor, Tensor]:
    """Packed (L, H) -> (B, T, H) padded on the left, as generation appends on the right; and its mask (B, T)."""
    shift = (segments.max_len - segments.lens)[segments.segment_ids]
    place = segments.place + shift
    size = segments.num_segments * segments.max_len
    padded = packed.new_zeros(size, packed.shape[1]).index_copy(0, place, packed)
    mask = torch.zeros(size, dtype=torch.long, device=packed.device).index_fill(0, place, 1)
    return padded.view(segments.num_segments, segments.max_len, -1), mask.view(segments.num_segments, -1)


def _until_end(ids: list[int], eos_token_id: int) -> Generated:
    if eos_token_id in ids:
        return Generated(ids[: ids.index(eos_token_id)], truncated=False)
    return Generated(ids, truncated=True)
