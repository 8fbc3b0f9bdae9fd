"""Stages 3, 4 and 5 as the recipe starts them: whisper, speech-understanding model, hypotheses."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from transformers import Qwen2Config, Qwen2ForCausalLM

import osum
from osum.bin import decode, train_sulm, train_whisper
from osum.data.store.index import Index
from osum.eval import hypotheses
from osum.eval.configs import DecodingConfig
from osum.model.folder import load_sulm
from osum.text import added_tokens
from osum.text import tokenizer as tokenizers
from osum.text.units import CtcUnits

SMALL = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 2, "ffn_dim": 32}
LLM = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "ffn_dim": 32}
DATA = {"tasks": ["asr", "sgc"], "plan": {"virtual_ranks": 2, "max_tokens": 300, "max_audio_s": 3.0}}
TRAIN = {"max_steps": 3, "log_every": 1, "valid_every": 3, "save_every": 2, "optim": {"lr": 0.001, "warmup_steps": 1}}


@pytest.fixture
def stage(shards_dir, tokenizer_dir, tmp_path):
    """`stage("train_sulm", model={...})` -> the arguments of a stage, from a YAML file."""

    def arguments(name, **fields):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"shards_dir": str(shards_dir), **fields}))
        folders = ["--out_dir", str(tmp_path / name)]
        if name != "decode":
            folders += ["--tokenizer_dir", str(tokenizer_dir)]
        return ["--config", str(path), *folders]

    return arguments


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_three_stages_and_a_rerun(stage, shards_dir, tmp_path):
    train_whisper.main(stage("train_whisper", model=SMALL, data=DATA, train={**TRAIN, "ctc_weight": 1.0}))
    sulm = {"adaptor": {"num_layers": 1, "num_heads": 2, "ffn_dim": 32}, "llm": LLM}
    options = stage("train_sulm", model=sulm, data=DATA, train={**TRAIN, "ctc_weight": 0.3})
    options += ["--whisper_dir", str(tmp_path / "train_whisper")]
    note = tmp_path / "train_whisper" / "versions.json"
    noted = json.loads(note.read_text())
    note.write_text(json.dumps({**noted, "corpora": {**noted["corpora"], "heard by Whisper": "CC0"}}))
    train_sulm.main(options)
    folder = tmp_path / "train_sulm"
    for name in ("model.safetensors", "model.yaml", "config.yaml", "versions.json", "tokenizer", ".done.json"):
        assert (folder / name).exists(), name
    assert [(m["split"], m["step"]) for m in lines(folder)] == [("train", 1), ("train", 2), ("train", 3), ("dev", 3)]
    for stage_dir in (folder, tmp_path / "train_whisper"):
        written = [json.loads(line) for line in (stage_dir / "examples.jsonl").read_text().split("\n")[:-1]]
        assert [(row["step"], row["task"], row["key"]) for row in written] == [(3, t, "dev-00") for t in ("asr", "sgc")]
    _, record = load_sulm(folder)
    assert record.encoder.d_model == 16 and list(record.prompts) == ["asr", "sgc"]
    heard = dict.fromkeys(Index.open(shards_dir / "train").header.corpora, "unknown")
    assert json.loads((folder / "versions.json").read_text())["corpora"] == {"heard by Whisper": "CC0", **heard}

    test = [*stage("decode", max_new_tokens=5, batch_size=4, average=2), "--model_dir", str(folder)]
    decode.main(test)
    found = {(h.task, h.swapped): len(h.hypotheses) for h in hypotheses.read_folder(tmp_path / "decode")}
    assert found == {("asr", False): 7, ("asr", True): 7, ("sgc", False): 7, ("sgc", True): 7}
    assert json.loads((tmp_path / "decode" / "drops.json").read_text()) == {"read": 28, "used": 28, "dropped": {}}

    made = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    train_sulm.main(options)
    decode.main(test)
    assert {p: p.stat().st_mtime_ns for p in made} == made
    with pytest.raises(ValueError, match=r"decode was made with other settings .*max_utts: None -> 2"):
        decode.main([*test, "--max_utts", "2"])
    with pytest.raises(ValueError, match=r"was not trained in \['ser'\]; it knows \['asr', 'sgc'\]"):
        decode.main([*test, "--tasks", "[ser]", "--overwrite", "true"])
    with pytest.raises(ValueError, match=r"2 checkpoints, not 3; raise train.keep_checkpoints"):
        decode.main([*test, "--average", "3", "--overwrite", "true"])


@pytest.fixture
def chat_llm(tmp_path):
    """A pretrained LLM with spare rows, and the folder of its tokenizer with two added tokens."""
    tokenizer = tokenizers.train(["hello there"], 270)
    added_tokens.add(tokenizer, ["<female>", "<male>"])
    tokenizers.save(tokenizer, tmp_path / "tokenizer")
    added_tokens.save(["<female>", "<male>"], tmp_path / "tokenizer")
    CtcUnits.build(["hello there"]).save(tmp_path / "tokenizer/units.txt")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    llm = Qwen2ForCausalLM(Qwen2Config(vocab_size=280, num_key_value_heads=1, tie_word_embeddings=True, **sizes))
    llm.save_pretrained(tmp_path / "llm")
    return llm, tokenizer


def test_decoding_keeps_to_the_template_and_the_added_tokens_of_training(stage, chat_llm, tmp_path):
    llm, tokenizer = chat_llm
    model = {"adaptor": {"num_layers": 1, "num_heads": 2, "ffn_dim": 32}, "llm": {"path": str(tmp_path / "llm")}}
    chat = {"form": "chatml", "speech_first": True}
    options = stage("train_sulm", encoder=SMALL, model={**model, "freeze": ["^llm"]}, data=DATA, train=TRAIN)
    options += ["--tokenizer_dir", str(tmp_path / "tokenizer"), *[f"--template.{k}={v}" for k, v in chat.items()]]
    train_sulm.main(options)
    loaded = osum.load(tmp_path / "train_sulm", device="cpu")
    assert loaded.stop_ids(DecodingConfig()) == {tokenizer.convert_tokens_to_ids("<|im_end|>")}
    table = loaded.model.llm.get_input_embeddings()
    assert torch.equal(table.base.weight, llm.get_input_embeddings().weight)
    pieces = added_tokens.spelled(tokenizer, ["<female>", "<male>"])
    start = torch.stack([table.base.weight[ids].mean(0) for ids in pieces])
    moved = (table.rows - start).abs().max()
    assert 0 < moved < 0.01, "three steps from where they are spelled"
    assert len(loaded.decode(np.zeros(9_000, dtype=np.float32), task="sgc", cfg=DecodingConfig(max_new_tokens=3))) == 1


def test_the_number_of_processes_changes_no_batch_and_no_loss(stage, repo_root, tmp_path):
    options = stage("train_whisper", model=SMALL, data=DATA, train=TRAIN)
    one = [*options[:-4], "--out_dir", str(tmp_path / "one"), *options[-2:]]
    train_whisper.main(one)
    two = [sys.executable, "-m", "osum.bin.train_whisper", *options, "--num_procs", "2"]
    subprocess.run(two, check=True, cwd=repo_root, capture_output=True)
    for a, b in zip(lines(tmp_path / "one"), lines(tmp_path / "train_whisper"), strict=True):
        assert (a["split"], a["step"], a["epoch"], a["tokens"]) == (b["split"], b["step"], b["epoch"], b["tokens"])
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a.get("grad_norm", 1.0) == pytest.approx(b.get("grad_norm", 1.0), rel=1e-3)
