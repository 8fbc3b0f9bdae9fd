"""Folders of pretrained models that are not what they should be: one line instead of random weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperConfig, WhisperModel

from osum.model.build import build_encoder, build_whisper
from osum.model.configs import WhisperSizes
from osum.model.pretrained import pretrained_llm


@pytest.fixture
def whisper_dir(tmp_path):
    config = WhisperConfig(
        vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    WhisperModel(config).save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


def take_away(folder, name):
    """Rewrite the weights without one tensor."""
    path = folder / "model.safetensors"
    state = load_file(path)
    del state[name]
    save_file(state, path, {"format": "pt"})


def test_the_kind_of_model_is_checked(whisper_dir, qwen2_dir):
    with pytest.raises(ValueError, match=r"holds a model of type qwen2; it must be whisper"):
        build_encoder(WhisperSizes(path=str(qwen2_dir)))
    with pytest.raises(ValueError, match=r"holds a model of type whisper; it must be qwen2 or qwen3"):
        pretrained_llm(str(whisper_dir), torch.float32)


@pytest.mark.parametrize(
    "build", [build_encoder, lambda sizes: build_whisper(sizes, 40, 0)], ids=["encoder", "whisper"]
)
def test_a_whisper_without_a_tensor_is_refused(whisper_dir, build):
    build(WhisperSizes(path=str(whisper_dir)))
    take_away(whisper_dir, "encoder.layers.0.fc1.weight")
    with pytest.raises(ValueError, match=r"whisper: 1 parameters are missing, such as encoder.layers.0.fc1.weight"):
        build(WhisperSizes(path=str(whisper_dir)))


def test_a_sliding_window_is_refused(qwen2_dir):
    config = json.loads((qwen2_dir / "config.json").read_text())
    del config["layer_types"]
    slides = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
    (qwen2_dir / "config.json").write_text(json.dumps({**config, **slides}))
    with pytest.raises(ValueError, match="sliding window; set use_sliding_window false"):
        pretrained_llm(str(qwen2_dir), torch.float32)


def test_an_llm_without_a_tensor_is_refused(qwen2_dir):
    pretrained_llm(str(qwen2_dir), torch.float32)
    take_away(qwen2_dir, "model.norm.weight")
    with pytest.raises(ValueError, match=r"1 parameters are missing, such as model.norm.weight"):
        pretrained_llm(str(qwen2_dir), torch.float32)
