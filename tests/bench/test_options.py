"""The comparison of options, on a tiny model."""

import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM


@pytest.fixture
def instruct_dir(tmp_path, tokenizer_dir):
    """A random model with the tokens of ChatML."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.save_pretrained(tmp_path)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)  # the same model whatever ran before
    config = Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=1, **sizes)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    return tmp_path


def test_every_arm_learns(instruct_dir, shards_dir, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])  # as for a script of this folder
    import options

    given = ["--llm", str(instruct_dir), "--shards_dir", str(shards_dir / "train"), "--tasks", "[asr,sgc]"]
    small = ["--seeds", "1", "--num_steps", "4", "--batch_size", "2", "--num_held_out", "4", "--lr", "0.01"]
    monkeypatch.setattr("sys.argv", ["options.py", *given, *small])
    options.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    arms = {name: found[name] for name in ("plain", "up_proj", "higher_rank", "chatml")}
    assert all(arm["after"] < arm["before"] for arm in arms.values())
    # LoRA starts as no change; the template is a change.
    assert arms["plain"]["before"] == arms["up_proj"]["before"] == arms["higher_rank"]["before"]
    assert arms["chatml"]["before"] != arms["plain"]["before"]
    assert arms["up_proj"]["trained"] == arms["plain"]["trained"] + 2 * 8 * (24 + 32)
