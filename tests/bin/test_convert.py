"""The converter's command line: chains of conversions, options that do not go together, and whole output or none."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, WhisperConfig, WhisperForConditionalGeneration

import osum
from osum import config
from osum.bin import convert
from osum.model.convert.whisper_names import openai_name
from osum.model.folder import load_sulm, load_whisper


@pytest.fixture
def golden(repo_root):
    return repo_root / "tests/model/golden"


@pytest.fixture
def original(golden):
    """Options that convert the small published set."""
    return [
        "--source",
        "original",
        "--checkpoint",
        str(golden / "original.pt"),
        "--config",
        str(golden / "config.json"),
    ]


@pytest.fixture
def whisper_dir(tmp_path):
    config = WhisperConfig(
        vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=128,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


@torch.no_grad()
def test_an_original_goes_to_hugging_face_directly_as_through_our_folder(original, tmp_path):
    convert.main([*original, "--target", "osum", "--output", str(tmp_path / "ours")])
    convert.main([*original, "--target", "hf", "--output", str(tmp_path / "direct")])
    source = ["--source", "osum", "--checkpoint", str(tmp_path / "ours")]
    convert.main(
        [*source, "--target", "hf", "--output", str(tmp_path / "hf"), "--corpora", '{"AISHELL-1": "apache-2.0"}']
    )
    ids = torch.arange(9)[None]
    logits = [
        AutoModelForCausalLM.from_pretrained(tmp_path / name).eval()(input_ids=ids).logits for name in ("direct", "hf")
    ]
    ours = load_sulm(tmp_path / "ours")[0].llm
    assert torch.equal(*logits)
    torch.testing.assert_close(logits[0], ours(input_ids=ids, use_cache=False).logits, atol=1e-4, rtol=0)
    assert "| AISHELL-1 | apache-2.0 |" in (tmp_path / "hf" / "README.md").read_text()
    assert not [p for p in (tmp_path / "direct").iterdir() if p.name.startswith("tmp")]


def test_the_prompts_and_the_tokenizer_of_an_original_come_along(original, tokenizer_dir, tmp_path):
    (tmp_path / "prompt_config.yaml").write_text("<TRANSCRIBE> <AGE>: [听年龄]\n", encoding="utf-8")
    options = ["--prompts", str(tmp_path / "prompt_config.yaml"), "--tokenizer", str(tokenizer_dir)]
    convert.main([*original, *options, "--target", "osum", "--output", str(tmp_path / "ours")])
    assert load_sulm(tmp_path / "ours")[1].prompts == {"sap": {"zh": ["听年龄"]}}
    assert (tmp_path / "ours" / "tokenizer" / "tokenizer.json").is_file()
    opened = osum.load(tmp_path / "ours", "cpu")
    assert opened.prompts == {"sap": {"zh": ["听年龄"]}}
    assert opened.embed([np.zeros(16_000, np.float32)])[0].shape == (13, opened.model.llm.config.hidden_size)


@torch.no_grad()
def test_an_originals_adapter_gives_the_logits_of_the_merged_model(original, tmp_path):
    for lora in ("merge", "adapter"):
        convert.main([*original, "--target", "hf", "--output", str(tmp_path / lora), "--lora", lora])
    ids = torch.arange(9)[None]
    merged, adapted = (
        AutoModelForCausalLM.from_pretrained(tmp_path / lora).eval()(input_ids=ids).logits
        for lora in ("merge", "adapter")
    )
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    torch.testing.assert_close(adapted, merged, atol=1e-4, rtol=0)


def test_whisper_goes_round_through_every_format(whisper_dir, tmp_path):
    def go(source, checkpoint, target, *options):
        out = tmp_path / f"{source}-{target}"
        argv = ["--source", source, "--checkpoint", str(checkpoint), "--target", target, "--output", str(out)]
        convert.main([*argv, *options])
        return out

    ours = go("hf", whisper_dir, "osum")
    wenet = go("osum", ours, "wenet")
    direct = torch.load(go("hf", whisper_dir, "wenet") / "final.pt", weights_only=True)
    there = torch.load(wenet / "final.pt", weights_only=True)
    assert direct.keys() == there.keys() and all(torch.equal(direct[n], there[n]) for n in there)
    hf = go("wenet", wenet / "final.pt", "hf", "--config", str(wenet / "train.yaml"))
    first, last = (WhisperForConditionalGeneration.from_pretrained(p) for p in (whisper_dir, hf))
    assert all(torch.equal(p, last.get_parameter(n)) for n, p in first.named_parameters())
    assert load_whisper(ours)[0].encoder.n_mels == 128


def test_openais_file_becomes_the_same_whisper_without_a_config(whisper_dir, tmp_path):
    theirs = WhisperForConditionalGeneration.from_pretrained(whisper_dir)
    state = {openai_name(n): p.detach() for n, p in theirs.model.named_parameters()}
    dims = {
        "n_mels": 128, "n_audio_ctx": 1500, "n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 1,
        "n_vocab": 40, "n_text_ctx": 448, "n_text_state": 16, "n_text_head": 2, "n_text_layer": 1,
    }  # fmt: skip
    torch.save({"dims": dims, "model_state_dict": state}, tmp_path / "tiny.pt")
    for source, checkpoint in {"openai": tmp_path / "tiny.pt", "hf": whisper_dir}.items():
        argv = ["--source", source, "--checkpoint", str(checkpoint), "--target", "osum"]
        convert.main([*argv, "--output", str(tmp_path / source)])
    found, expected = (load_whisper(tmp_path / source)[0].state_dict() for source in ("openai", "hf"))
    assert found.keys() == expected.keys() and all(torch.equal(found[n], expected[n]) for n in expected)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--source", "original", "--target", "osum"], "source original needs --config"),
        (["--source", "original", "--target", "wenet", "--config", "x"], "can't become a WeNet model"),
        (["--source", "hf", "--target", "osum", "--prompts", "x"], "--prompts belongs to --source original"),
        (["--source", "hf", "--target", "osum", "--corpora", '{"x": "y"}'], "--corpora belong to --target hf"),
        (["--source", "kaldi", "--target", "osum"], "kaldi"),
    ],
)
def test_options_that_do_not_go_together_are_named(argv, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        convert.main([*argv, "--checkpoint", "x", "--output", "y"])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_a_whisper_has_no_adapter(whisper_dir, tmp_path):
    argv = ["--source", "hf", "--checkpoint", str(whisper_dir), "--target", "hf", "--output", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"whisper: a Whisper of ours has no LoRA"):
        convert.main([*argv, "--lora", "adapter"])


def test_a_failure_leaves_nothing_behind(original, golden, tmp_path):
    state = torch.load(golden / "original.pt", weights_only=True)
    torch.save({**state, "surplus": torch.ones(1)}, tmp_path / "original.pt")
    argv = [*original, "--checkpoint", str(tmp_path / "original.pt"), "--target", "osum"]
    with pytest.raises(ValueError, match=r"1 tensors are unknown.*: surplus"):
        convert.main([*argv, "--output", str(tmp_path / "out" / "ours")])
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_up_to_date_is_kept_and_other_options_are_not_mixed_in(original, tmp_path):
    argv = [*original, "--target", "osum", "--output", str(tmp_path / "ours")]
    convert.main(argv)
    written = (tmp_path / "ours" / "model.safetensors").stat().st_mtime_ns
    convert.main(argv)
    assert (tmp_path / "ours" / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match=r"made with other settings \(leave_out: None -> 'x'\)"):
        convert.main([*argv, "--leave_out", "x"])


def test_a_sulm_is_no_whisper_for_wenet(sulm, sulm_record, tokenizer_dir, tmp_path):
    from osum.model.folder import save_sulm

    save_sulm(tmp_path / "sulm", sulm, sulm_record, tokenizer_dir)
    argv = ["--source", "osum", "--checkpoint", str(tmp_path / "sulm"), "--target", "wenet"]
    with pytest.raises(ValueError, match=r"sulm: a speech-understanding language model goes to --target hf only"):
        convert.main([*argv, "--output", str(tmp_path / "out")])


def test_the_command_ends_with_one_line_for_a_file_that_is_no_checkpoint(golden, tmp_path):
    argv = ["--source", "original", "--checkpoint", str(golden / "README.md"), "--config", str(golden / "config.json")]
    ended = subprocess.run(
        [sys.executable, "-m", "osum.bin.convert", *argv, "--target", "osum", "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert "README.md: not a file of weights" in ended.stderr.splitlines()[-1]


def test_the_documented_commands_have_valid_options(repo_root):
    text = (repo_root / "docs/convert.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m osum\.bin\.convert (.+)$", text, re.MULTILINE)
    found = [config.load(convert.ConvertConfig, shlex.split(c), file_option="--options") for c in commands]
    assert {(cfg.source, cfg.target) for cfg in found} == {
        ("original", "osum"),
        ("openai", "osum"),
        ("hf", "osum"),
        ("wenet", "hf"),
        ("osum", "wenet"),
        ("osum", "hf"),
    }
    assert {cfg.lora for cfg in found} == {"merge", "adapter"}
