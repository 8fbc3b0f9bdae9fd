"""Models from their configs: random ones from sizes, pretrained ones from a local or hub folder.

A config names a `path` (Hugging Face folder or hub name) or gives sizes; the sizes are ignored beside a path.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config, WhisperConfig, WhisperModel

from osum.model.adaptor import Adaptor
from osum.model.added_tokens import make_room, train_rows
from osum.model.attention import IMPLEMENTATION
from osum.model.configs import LlmSizes, SpeechLlmConfig, WhisperSizes
from osum.model.encoder import Encoder
from osum.model.lora import add_lora
from osum.model.precision import Precision, widen
from osum.model.pretrained import pretrained_llm, pretrained_whisper
from osum.model.speech_llm import SpeechLLM
from osum.model.whisper import MultitaskWhisper
from osum.near import near_names


def build_whisper(sizes: WhisperSizes, vocab_size: int, num_ctc_units: int) -> MultitaskWhisper:
    """Return the encoder-decoder of stage 3; 0 CTC units mean no CTC head."""
    if sizes.path is None:
        whisper = WhisperModel(_whisper_config(sizes, vocab_size))
    else:
        whisper = pretrained_whisper(sizes.path)
        whisper.resize_token_embeddings(max(vocab_size, whisper.config.vocab_size))
    encoder = Encoder(whisper.encoder)
    return MultitaskWhisper(encoder, whisper.decoder, ctc_head(encoder, num_ctc_units))


def build_encoder(sizes: WhisperSizes) -> Encoder:
    """Return the encoder of a Whisper folder or of given sizes, float32."""
    if sizes.path is None:
        return Encoder(WhisperModel(_whisper_config(sizes, vocab_size=2)).encoder)
    return Encoder(pretrained_whisper(sizes.path).encoder)


def build_speech_llm(
    cfg: SpeechLlmConfig,
    encoder: Encoder,
    vocab_size: int,
    eos_token_id: int,
    num_ctc_units: int,
    added_token_ids: Sequence[int] = (),
    precision: Precision = "float32",
) -> SpeechLLM:
    """Return the SULM of stage 4 around an encoder, frozen as configured but for the rows of added tokens.

    Parameters are float32; for bfloat16, frozen matrices of a pretrained LLM are as its files have them: in float32,
    seven billion would take 28 GB in each process until they are halved. ValueError if a pretrained LLM has fewer
    tokens than the tokenizer, added ones aside.
    """
    llm = _build_llm(cfg.llm, vocab_size, eos_token_id, torch.float32 if precision == "float32" else "auto")
    make_room(llm, vocab_size, added_token_ids)
    if cfg.lora is not None:
        llm = add_lora(llm, cfg.lora)
    adaptor = Adaptor(encoder.width, llm.config.hidden_size, cfg.adaptor)
    model = SpeechLLM(encoder, adaptor, llm, ctc_head(encoder, num_ctc_units))
    freeze(model, cfg.freeze)
    if added_token_ids:
        train_rows(llm, added_token_ids)
    widen(model)
    return model


def ctc_head(encoder: Encoder, num_units: int) -> nn.Linear | None:
    """Return the CTC output layer over encoder frames, None for 0 units."""
    return nn.Linear(encoder.width, num_units) if num_units else None


def freeze(model: nn.Module, patterns: list[str]) -> None:
    """Stop training every parameter that a pattern matches. ValueError with near names if a pattern matches none."""
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        matched = {name for name in names if re.search(pattern, name)}
        if not matched:
            raise ValueError(f"freeze: no parameter matches {pattern!r}; {near_names(pattern, names)}")
        for name, parameter in model.named_parameters():
            if name in matched:
                parameter.requires_grad_(False)


def _whisper_config(sizes: WhisperSizes, vocab_size: int) -> WhisperConfig:
    return WhisperConfig(
        vocab_size=vocab_size,
        d_model=sizes.d_model,
        num_mel_bins=sizes.n_mels,
        encoder_layers=sizes.encoder_layers,
        decoder_layers=sizes.decoder_layers,
        encoder_attention_heads=sizes.num_heads,
        decoder_attention_heads=sizes.num_heads,
        encoder_ffn_dim=sizes.ffn_dim,
        decoder_ffn_dim=sizes.ffn_dim,
        dropout=sizes.dropout,
        init_std=sizes.init_std,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
        attn_implementation=IMPLEMENTATION,
    )


def _build_llm(
    sizes: LlmSizes, vocab_size: int, eos_token_id: int, dtype: torch.dtype | Literal["auto"]
) -> PreTrainedModel:
    """`dtype` is for pretrained weights; "auto" is that of the files."""
    if sizes.path is not None:
        return pretrained_llm(sizes.path, dtype)
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.ffn_dim,
        num_hidden_layers=sizes.num_layers,
        num_attention_heads=sizes.num_heads,
        num_key_value_heads=sizes.num_kv_heads,
        initializer_range=sizes.init_std,
        attention_dropout=sizes.attention_dropout,
        tie_word_embeddings=sizes.tied,
        bos_token_id=eos_token_id,
        eos_token_id=eos_token_id,
        attn_implementation=IMPLEMENTATION,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation=IMPLEMENTATION)
