"""What models consist of. Nothing here needs torch, so that a stage can read its options without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class WhisperSizes:
    """Whisper, from a folder or of given sizes."""

    path: str | None = None
    """Hugging Face folder or hub name to start from; null starts from random weights of the sizes below."""
    d_model: int = 128
    """Width of encoder and decoder."""
    encoder_layers: int = 3
    """Transformer layers of the encoder."""
    decoder_layers: int = 2
    """Transformer layers of the decoder."""
    num_heads: int = 4
    """Attention heads everywhere."""
    ffn_dim: int = 512
    """Inner width of the feed-forward blocks."""
    n_mels: int = 80
    """Mel bins: 80, or 128 for large-v3."""
    dropout: float = 0.1
    """Dropout on hidden states."""
    init_std: float = 0.02
    """Standard deviation of random weights."""

    def __post_init__(self) -> None:
        """Check sizes. ValueError naming the field."""
        _check_positive("whisper", self, "d_model", "encoder_layers", "num_heads", "ffn_dim", "n_mels")
        _check_multiple("whisper", self, "d_model", "num_heads")


@dataclass
class AdaptorConfig:
    """Sizes of the adaptor; the defaults are the paper's."""

    num_layers: int = 4
    """Transformer layers after the convolutions."""
    num_heads: int = 4
    """Attention heads of each layer."""
    ffn_dim: int = 2560
    """Inner width of the feed-forward (ReLU)."""
    dropout: float = 0.1
    """Dropout after attention, feed-forward and positions."""

    def __post_init__(self) -> None:
        """Check sizes. ValueError naming the field."""
        _check_positive("adaptor", self, "num_layers", "num_heads", "ffn_dim")


@dataclass
class LlmSizes:
    """The Qwen2 language model, from a folder or of given sizes."""

    path: str | None = None
    """Hugging Face folder or hub name to start from; null starts from random weights of the sizes below."""
    hidden_size: int = 128
    """Width."""
    num_layers: int = 3
    """Transformer layers."""
    num_heads: int = 4
    """Query heads."""
    num_kv_heads: int = 2
    """Key and value heads."""
    ffn_dim: int = 384
    """Inner width of the feed-forward (SwiGLU)."""
    init_std: float = 0.02
    """Standard deviation of random weights."""
    attention_dropout: float = 0.0
    """Dropout on attention weights."""
    tied: bool = True
    """The output layer is the table of embeddings (Qwen2 of 0.5B and 1.5B), not one of its own (7B)."""

    def __post_init__(self) -> None:
        """Check sizes. ValueError naming the field."""
        _check_positive("llm", self, "hidden_size", "num_layers", "num_heads", "num_kv_heads", "ffn_dim")
        _check_multiple("llm", self, "hidden_size", "num_heads")
        _check_multiple("llm", self, "num_heads", "num_kv_heads")


@dataclass
class LoraConfig:
    """Low-rank adaptation of the LLM (arXiv 2106.09685); the defaults are the paper's."""

    rank: int = 8
    """Rank r."""
    alpha: int = 32
    """The update is scaled by alpha / r."""
    dropout: float = 0.1
    """Dropout before the update."""
    targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]
    )
    """Names of the linear layers that get one; one that names none is an error."""

    def __post_init__(self) -> None:
        """Check sizes. ValueError naming the field."""
        _check_positive("lora", self, "rank", "alpha")


@dataclass
class SpeechLlmConfig:
    """What a SULM consists of."""

    adaptor: AdaptorConfig = field(default_factory=AdaptorConfig)
    """Between encoder and LLM."""
    llm: LlmSizes = field(default_factory=LlmSizes)
    """The language model."""
    lora: LoraConfig | None = None
    """LoRA on the LLM; null leaves the LLM as it is."""
    freeze: list[str] = field(default_factory=list)
    """Regular expressions over parameter names: what one matches is not trained; one without a match is an error."""


def check_precision_name(precision: str, name: str) -> None:
    """ValueError unless it is float32 or bfloat16; `name` is what the user calls it."""
    if precision == "float16":
        raise ValueError(f"{name} is float16, whose range Qwen2's activations exceed; say bfloat16")
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"{name} is {precision!r}; it must be float32 or bfloat16")


def _check_positive(part: str, cfg: Any, *names: str) -> None:
    for name in names:
        if getattr(cfg, name) < 1:
            raise ValueError(f"{part}.{name} is {getattr(cfg, name)}; it must be at least 1")


def _check_multiple(part: str, cfg: Any, name: str, of: str) -> None:
    value, divisor = getattr(cfg, name), getattr(cfg, of)
    if value % divisor:
        raise ValueError(f"{part}.{name} is {value}; it must be a multiple of {part}.{of}, which is {divisor}")
