"""Pretrained models from Hugging Face folders or the hub: of the kind that is meant, and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedConfig, PreTrainedModel, WhisperModel

from osum.model.attention import IMPLEMENTATION

LLMS = ("qwen2", "qwen3")
"""Values of `model_type`; Qwen2.5 is a qwen2."""


def pretrained_whisper(path: str) -> WhisperModel:
    """Return a Whisper, float32. ValueError if the folder holds another model, or weights are missing."""
    # Asked first: transformers would take the sizes of any other model for Whisper's.
    config, _ = PreTrainedConfig.get_config_dict(path)
    _check_kind(path, config.get("model_type"), ("whisper",))
    return _load(WhisperModel, path, torch.float32)


def pretrained_llm(path: str, dtype: torch.dtype | Literal["auto"]) -> PreTrainedModel:
    """Return a language model of Qwen2's form; "auto" is the type of the files.

    ValueError as above, and for one whose layers attend within a sliding window.
    """
    llm = _load(AutoModelForCausalLM, path, dtype)
    _check_kind(path, llm.config.model_type, LLMS)
    if "sliding_attention" in llm.config.layer_types:
        raise ValueError(f"{path}: layers attend within a sliding window; set use_sliding_window false in config.json")
    # A chat model's sampling and repetition penalty would fill in whatever our own decoding leaves unsaid.
    llm.generation_config = GenerationConfig()
    return llm


def _check_kind(path: str, kind: str | None, meant: Sequence[str]) -> None:
    if kind not in meant:
        raise ValueError(f"{path}: holds a model of type {kind}; it must be {' or '.join(meant)}")


def _load(cls: Any, path: str, dtype: torch.dtype | Literal["auto"]) -> Any:
    options = {"dtype": dtype, "attn_implementation": IMPLEMENTATION}
    model, found = cls.from_pretrained(path, **options, output_loading_info=True)
    # What the files lack has random values, and transformers only warns.
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{path}: {len(missing)} parameters are missing, such as {missing[0]}; get the files again")
    return model
