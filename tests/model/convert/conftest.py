"""Tiny random models under the names of other projects."""

import json

import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from osum.model.convert.whisper_names import openai_name, wenet_name

SIZES = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 3, "vocab_size": 50, "num_mel_bins": 128}


@pytest.fixture
def hf_whisper():
    """A Whisper of transformers with 128 mel bins, every parameter random."""
    torch.manual_seed(0)
    config = WhisperConfig(
        **SIZES, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
        dropout=0.0, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "encoder.embed_positions" not in name:
                p.normal_(std=0.2)
    return model


@pytest.fixture
def checkpoints(hf_whisper, wenet_settings, tmp_path):
    """The same model as (checkpoint, config) of each source."""
    hf_whisper.save_pretrained(tmp_path / "hf")
    state = {n.removeprefix("model."): p.detach().clone() for n, p in hf_whisper.model.named_parameters()}
    dims = {
        "n_mels": 128, "n_audio_ctx": 1500, "n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 2,
        "n_vocab": 50, "n_text_ctx": 448, "n_text_state": 16, "n_text_head": 2, "n_text_layer": 3,
    }  # fmt: skip
    openai = {openai_name(n): p for n, p in state.items()}
    torch.save({"dims": dims, "model_state_dict": openai}, tmp_path / "openai.pt")
    wenet = {wenet_name(n): p[None] if "embed_positions" in n else p for n, p in state.items()}
    wenet["decoder.output_layer.weight"] = state["decoder.embed_tokens.weight"]
    torch.save(wenet, tmp_path / "wenet.pt")
    (tmp_path / "train.json").write_text(json.dumps(wenet_settings))
    return {
        "hf": (tmp_path / "hf", None),
        "openai": (tmp_path / "openai.pt", None),
        "wenet": (tmp_path / "wenet.pt", tmp_path / "train.json"),
    }


@pytest.fixture
def wenet_settings():
    """The part of WeNet's train.yaml that says what its Whisper is."""
    both = {
        "attention_heads": 2, "linear_units": 64, "activation_type": "gelu", "key_bias": False,
        "normalize_before": True, "dropout_rate": 0.0,
    }  # fmt: skip
    encoder = {"output_size": 16, "num_blocks": 2, "input_layer": "conv1d2", "pos_enc_layer_type": "abs_pos_whisper"}
    decoder = {"num_blocks": 3, "input_layer": "embed_learnable_pe", "src_key_bias": False, "tie_word_embedding": True}
    return {
        "input_dim": 128,
        "output_dim": 50,
        "encoder_conf": {**both, **encoder},
        "decoder_conf": {**both, **decoder},
    }
