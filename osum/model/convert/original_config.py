"""The original OSUM's settings: its training YAML, or a JSON file of the sizes alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PretrainedConfig

from osum.model.configs import AdaptorConfig, LoraConfig, WhisperSizes
from osum.model.convert.settings import Settings
from osum.model.convert.whisper import encoder_sizes, require_whisper_encoder

END_TOKEN_ID = 151_643
"""`<|endoftext|>` of Qwen2, which ends every target of the original."""
ADAPTOR = AdaptorConfig(num_layers=4, num_heads=4, ffn_dim=2560)
"""Written into the original's code: its YAML does not say it."""


@dataclass
class OriginalConfig:
    """What the conversion needs of the original's settings."""

    encoder: WhisperSizes
    adaptor: AdaptorConfig
    llm: PretrainedConfig
    """Sizes and kind of the language model."""
    llm_name: str | None
    """Where its sizes come from, None where the settings hold them."""
    lora: LoraConfig | None
    num_speech_tokens: int
    """Rows before speech-begin and speech-end in the table of speech embeddings."""
    end_token_id: int
    """Ends every target."""


def read_original_config(path: Path, llm: str | None = None) -> OriginalConfig:
    """Read either form; `llm` (folder or hub name) replaces the `llm_path` of the YAML. ValueError naming the key."""
    settings = Settings.read(path)
    return _from_yaml(settings, llm) if "encoder_conf" in settings.values else _from_sizes(settings, llm)


def _from_yaml(settings: Settings, llm: str | None) -> OriginalConfig:
    settings.require("adapter_type", "gxl")
    settings.require("downsample_rate", 4)
    encoder = settings.section("encoder_conf")
    require_whisper_encoder(encoder)
    uses_lora = settings.values.get("use_lora", False)
    name = llm or settings.text("llm_path")
    data = settings.section("dataset_conf")
    return OriginalConfig(
        encoder=encoder_sizes(encoder, settings.integer("input_dim"), decoder_layers=0),
        adaptor=ADAPTOR,
        llm=_llm_config(name),
        llm_name=name,
        lora=_lora(settings, "lora_rank", "lora_alpha") if uses_lora else None,
        num_speech_tokens=settings.integer("speech_token_num"),
        end_token_id=data.integer("eod_id") if "eod_id" in data.values else END_TOKEN_ID,
    )


def _from_sizes(settings: Settings, llm: str | None) -> OriginalConfig:
    encoder, adaptor = settings.section("encoder"), settings.section("adapter")
    require_whisper_encoder(encoder)
    adaptor.require("adapter_type", "gxl")
    adaptor.require("downsample_rate", 4)
    return OriginalConfig(
        encoder=encoder_sizes(encoder, encoder.integer("input_dim"), decoder_layers=0),
        adaptor=AdaptorConfig(
            num_layers=adaptor.integer("transformer_blocks"),
            num_heads=adaptor.integer("attention_heads"),
            ffn_dim=adaptor.integer("linear_units"),
        ),
        llm=_llm_config(llm) if llm else _llm_of_sizes(settings.section("llm")),
        llm_name=llm,
        lora=_lora(settings.section("lora"), "rank", "alpha") if settings.values.get("lora") else None,
        num_speech_tokens=settings.integer("speech_token_num"),
        end_token_id=END_TOKEN_ID,
    )


def _lora(settings: Settings, rank: str, alpha: str) -> LoraConfig:
    lora = LoraConfig(rank=settings.integer(rank), alpha=settings.integer(alpha))
    if "lora_dropout" in settings.values:
        lora.dropout = settings.number("lora_dropout")
    if "target_modules" in settings.values:
        lora.targets = list(settings.values["target_modules"])
    return lora


def _llm_of_sizes(settings: Settings) -> PretrainedConfig:
    sizes = dict(settings.values)
    if "rope_theta" in sizes:
        sizes["rope_parameters"] = {"rope_type": "default", "rope_theta": sizes.pop("rope_theta")}
    try:
        return AutoConfig.for_model(sizes.pop("model_type", "qwen2"), **sizes)
    except (StrictDataclassError, TypeError) as err:
        raise ValueError(f"{settings.source}: {err.__cause__ or err}") from err


def _llm_config(name: str) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as err:
        raise ValueError(f"{name}: no config of a language model there; give its folder with --llm") from err
