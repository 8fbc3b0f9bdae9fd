"""Sizes that no model can have are refused by name, before anything is built."""

import pytest

from osum.model.adaptor import Adaptor
from osum.model.configs import AdaptorConfig, LlmSizes, LoraConfig, WhisperSizes


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: WhisperSizes(d_model=130),
            "whisper.d_model is 130; it must be a multiple of whisper.num_heads, which is 4",
        ),
        (lambda: WhisperSizes(encoder_layers=0), "whisper.encoder_layers is 0; it must be at least 1"),
        (lambda: LlmSizes(hidden_size=130), "llm.hidden_size is 130; it must be a multiple of llm.num_heads"),
        (lambda: LlmSizes(num_kv_heads=3), "llm.num_heads is 4; it must be a multiple of llm.num_kv_heads, which is 3"),
        (lambda: LlmSizes(ffn_dim=-1), "llm.ffn_dim is -1"),
        (lambda: AdaptorConfig(num_heads=0), "adaptor.num_heads is 0"),
        (lambda: LoraConfig(rank=0), "lora.rank is 0"),
        (lambda: Adaptor(16, 24, AdaptorConfig(num_heads=3)), "adaptor.num_heads is 3; .* the encoder's width, 16"),
    ],
)
def test_sizes(build, message):
    with pytest.raises(ValueError, match=message):
        build()
