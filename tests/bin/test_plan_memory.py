"""The plan of memory from the command line."""

import subprocess
import sys

import pytest
import torch
import yaml

from osum import config
from osum.bin import plan_memory

MODEL = {
    "adaptor": {"num_layers": 1, "num_heads": 2, "ffn_dim": 32},
    "llm": {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "ffn_dim": 32},
}
ENCODER = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 2, "ffn_dim": 32}


STAGES = {"train_sulm": {"encoder": ENCODER, "model": MODEL}, "train_whisper": {"model": ENCODER}}


@pytest.fixture
def options_of(shards_dir, tokenizer_dir, tmp_path):
    """`options_of("train_whisper")` -> the options of a stage."""

    def options(stage):
        path = tmp_path / f"{stage}.yaml"
        data = {"tasks": ["asr", "sgc"], "plan": {"max_tokens": 4000, "max_audio_s": 240.0}}
        path.write_text(yaml.safe_dump({**STAGES[stage], "data": data}))
        return ["--config", str(path), "--shards_dir", str(shards_dir), "--tokenizer_dir", str(tokenizer_dir)]

    return options


@pytest.fixture
def options(options_of):
    return options_of("train_sulm")


@pytest.mark.parametrize("stage", STAGES)
def test_a_larger_device_holds_a_larger_pack(stage, options_of, tmp_path):
    found, (config_class, assemble) = [], plan_memory.STAGES[stage]
    for gb in ("0.1", "1"):
        cfg = config.load(config_class, [*options_of(stage), "--memory_gb", gb])
        corpus, model, _ = assemble(cfg, tmp_path)
        found.append(plan_memory.run(cfg, corpus, model, torch.device("cpu")))
    small, large = found
    assert 100 < small[0] < large[0] / 5 and small[1] < large[1] / 5
    assert large[0] / large[1] == pytest.approx(4000 / 240, rel=0.01)  # in the proportion of the configuration


def test_what_is_needed_is_logged(options_of, repo_root):
    options = ["train_whisper", *options_of("train_whisper"), "--memory_gb", "1"]
    command = [sys.executable, "-m", "osum.bin.plan_memory", *options]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("frozen_gb=0.00", "optimizer_gb=0.00", "activations_gb=", "fits: plan.max_tokens="):
        assert f"plan_memory {name}" in done.stderr


def test_too_little_memory_and_no_device_are_named(options):
    with pytest.raises(ValueError, match=r"0.0 GB are too little for .* freeze or shard more, use train.precision"):
        plan_memory.main([*options, "--memory_gb", "0.001"])
    with pytest.raises(ValueError, match="'train_sulms' is no training stage; say plan_memory train_whisper or "):
        plan_memory.main(["train_sulms", *options])
    with pytest.raises(ValueError, match="memory_gb: there is no GPU to ask"):
        plan_memory.main(options)
