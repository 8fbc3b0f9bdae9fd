import json

import pytest
import yaml
from transformers import Qwen2Config

from osum.model.configs import AdaptorConfig, LoraConfig, WhisperSizes
from osum.model.convert.original_config import read_original_config

ENCODER = {
    "input_layer": "conv1d2", "pos_enc_layer_type": "abs_pos_whisper", "key_bias": False, "activation_type": "gelu",
    "normalize_before": True, "output_size": 1024, "num_blocks": 24, "attention_heads": 16, "linear_units": 4096,
    "dropout_rate": 0.1,
}  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    """The original's YAML as far as it matters, with a small LLM."""
    Qwen2Config(vocab_size=96, hidden_size=16, num_hidden_layers=2).save_pretrained(tmp_path / "qwen2")
    return {
        "model": "llmasr", "llm_path": str(tmp_path / "qwen2"), "adapter_type": "gxl", "downsample_rate": 4,
        "use_lora": True, "lora_alpha": 32, "lora_rank": 8, "lora_dropout": 0.05, "speech_token_num": 4097,
        "input_dim": 80, "encoder": "transformer", "encoder_conf": ENCODER, "dataset_conf": {"eod_id": 151643},
    }  # fmt: skip


def read(folder, settings, llm=None):
    (folder / "train.yaml").write_text(yaml.safe_dump(settings))
    return read_original_config(folder / "train.yaml", llm)


def test_the_yaml_of_training_says_what_to_build(settings, tmp_path):
    cfg = read(tmp_path, settings)
    wanted = WhisperSizes(
        d_model=1024, encoder_layers=24, decoder_layers=0, num_heads=16, ffn_dim=4096, n_mels=80, dropout=0.1
    )
    assert (cfg.encoder, cfg.adaptor) == (wanted, AdaptorConfig())
    assert cfg.lora == LoraConfig(rank=8, alpha=32, dropout=0.05)
    assert (cfg.llm.vocab_size, cfg.llm.model_type, cfg.num_speech_tokens, cfg.end_token_id) == (
        96,
        "qwen2",
        4097,
        151643,
    )


def test_another_place_of_the_llm_wins_and_lora_is_optional(settings, tmp_path):
    Qwen2Config(vocab_size=77).save_pretrained(tmp_path / "other")
    cfg = read(tmp_path, {**settings, "use_lora": False, "llm_path": "nowhere"}, str(tmp_path / "other"))
    assert (cfg.llm.vocab_size, cfg.llm_name, cfg.lora) == (77, str(tmp_path / "other"), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter_type": "lyz"}, "adapter_type is 'lyz'; only 'gxl' can be converted"),
        ({"downsample_rate": 8}, "downsample_rate is 8; only 4"),
        ({"encoder_conf": {**ENCODER, "input_layer": "conv2d"}}, "encoder_conf: input_layer is 'conv2d'"),
        ({"encoder_conf": {**ENCODER, "num_blocks": "24"}}, "encoder_conf: num_blocks is '24'; give its value"),
        ({"speech_token_num": None}, "speech_token_num is None; give its value"),
        ({"dataset_conf": None}, "no section 'dataset_conf'"),
    ],
)
def test_what_can_not_be_converted_is_named(settings, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {**settings, **changes})


def test_a_folder_without_an_llm_is_named(settings, tmp_path):
    with pytest.raises(ValueError, match=r"empty: no config of a language model there; give its folder with --llm"):
        read(tmp_path, settings, llm=str(tmp_path / "empty"))


def test_sizes_as_json_are_read_and_checked(repo_root, tmp_path):
    golden = repo_root / "tests/model/golden/config.json"
    cfg = read_original_config(golden)
    assert (cfg.encoder.d_model, cfg.adaptor.num_layers, cfg.llm.rope_parameters["rope_theta"]) == (16, 4, 1e6)
    assert (cfg.lora.rank, cfg.lora.alpha, cfg.num_speech_tokens, cfg.llm_name) == (4, 32, 5, None)
    sizes = json.loads(golden.read_text())
    sizes["llm"]["rms_norm_eps"] = "small"
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    with pytest.raises(ValueError, match=r"config.json, llm: Field 'rms_norm_eps' expected float"):
        read_original_config(tmp_path / "config.json")


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("a.yaml", "a: ["), ("a.yaml", "- 1")])
def test_a_malformed_file_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=name):
        read_original_config(tmp_path / name)
