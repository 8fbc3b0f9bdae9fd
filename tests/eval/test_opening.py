from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

import osum
from osum.eval import speech_model
from osum.eval.configs import DecodingConfig
from osum.eval.speech_model import SpeechModel
from osum.eval.whisper_model import WhisperModel
from osum.model.configs import LoraConfig, WhisperSizes
from osum.model.convert.card import Licences
from osum.model.convert.export_sulm import export_sulm
from osum.model.convert.export_whisper import export_whisper_hf, export_whisper_wenet
from osum.model.folder import WhisperRecord, save_sulm, save_whisper

CFG = DecodingConfig(max_new_tokens=8)


def noise(seed, num_samples):
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


@pytest.mark.parametrize("lora", ["merge", "adapter"])
def test_an_exported_model_says_what_its_origin_says(sulm_record, tokenizer_dir, tmp_path, lora):
    torch.manual_seed(3)
    record = replace(sulm_record, model=replace(sulm_record.model, lora=LoraConfig(rank=2, alpha=8)))
    model = record.build()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    save_sulm(tmp_path / "sulm", model, record, tokenizer_dir)
    export_sulm(tmp_path / "sulm", tmp_path / "hf", lora, Licences(), tmp_path / "hf")
    ours, exported = osum.load(tmp_path / "sulm", "cpu"), osum.load(tmp_path / "hf", "cpu")
    assert isinstance(exported, SpeechModel) and exported.prompts == ours.prompts
    audio = [noise(1, 9_000), noise(2, 17_000)]
    for a, b in zip(ours.embed(audio), exported.embed(audio), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    if lora == "merge":  # and what is exported is a model like any other
        export_sulm(tmp_path / "hf", tmp_path / "again", lora, Licences(), tmp_path / "again")
        assert osum.load(tmp_path / "again", "cpu").tokenizer.get_vocab() == exported.tokenizer.get_vocab()
    texts = ours.decode(*audio, task="sgc", cfg=CFG)
    assert texts == exported.decode(*audio, task="sgc", cfg=CFG) and any(texts)


@pytest.fixture
def whisper():
    record = WhisperRecord(WhisperSizes(d_model=16, num_heads=2, ffn_dim=32, decoder_layers=1), 300, 5)
    torch.manual_seed(4)
    return record.build().eval(), record


def test_a_whisper_comes_with_features_and_encoder(whisper, bpe, tmp_path):
    model, record = whisper
    save_whisper(tmp_path / "exp" / "whisper", model, record)  # of an experiment that has got no further
    bpe.save_pretrained(tmp_path / "exp" / "whisper" / "tokenizer")
    export_whisper_hf(model, record, tmp_path / "hf", Licences(), {})
    model.ctc_head = None
    export_whisper_wenet(model, record, tmp_path / "wenet")
    loaded = [osum.load(tmp_path / name, "cpu") for name in ("exp", "exp/whisper", "hf", "wenet")]
    assert all(isinstance(m, WhisperModel) for m in loaded)
    assert loaded[0].tokenizer.get_vocab() == bpe.get_vocab() and loaded[2].tokenizer is None
    frames = [m.encode(noise(5, 16_000), noise(6, 9_000)) for m in loaded]
    assert [f.shape for f in frames[0]] == [(50, 16), (28, 16)]
    for others in frames[1:]:
        for a, b in zip(frames[0], others, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_any_whisper_for_hugging_face_is_opened(tmp_path):
    config = WhisperConfig(
        vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=128,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(tmp_path)
    assert osum.load(tmp_path, "cpu").model.log_mel(torch.zeros(1600), torch.tensor([1600]))[0].shape == (1, 128, 10)


@pytest.mark.parametrize("precision", ["float16", "double"])
def test_a_precision_that_would_not_hold_is_refused(sulm, sulm_record, tokenizer_dir, tmp_path, precision):
    save_sulm(tmp_path, sulm, sulm_record, tokenizer_dir)
    with pytest.raises(ValueError, match=rf"precision is '?{precision}.*bfloat16"):
        osum.load(tmp_path, "cpu", precision=precision)


def test_an_empty_prompt_is_refused(sulm, sulm_record, tokenizer_dir, tmp_path):
    save_sulm(tmp_path, sulm, sulm_record, tokenizer_dir)
    with pytest.raises(ValueError, match="the prompt is empty"):
        osum.load(tmp_path, "cpu").decode(noise(1, 9_000), task="sgc", prompt=" ")


def test_stage_5_wants_a_language_model(whisper, tmp_path):
    save_whisper(tmp_path, *whisper)
    with pytest.raises(FileNotFoundError, match="holds a Whisper, without an LLM"):
        speech_model.load(tmp_path)
    (tmp_path / "model.yaml").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"model.yaml: not YAML"):
        osum.load(tmp_path)
