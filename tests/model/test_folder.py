from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from osum.model.configs import LlmSizes, LoraConfig, WhisperSizes
from osum.model.ending import StopRules
from osum.model.folder import WhisperRecord, load_sulm, load_whisper, save_sulm, save_whisper
from osum.model.generate import generate
from osum.text.configs import PAPER, TemplateConfig

SIZES = WhisperSizes(d_model=16, encoder_layers=1, decoder_layers=1, num_heads=2, ffn_dim=32, init_std=0.2)


def written(model, batch):
    return generate(model, batch, [8] * len(batch.keys), StopRules(frozenset({0})))


def test_a_saved_model_writes_the_same(sulm, sulm_record, tokenizer_dir, prefixes, tmp_path):
    save_sulm(tmp_path, sulm, sulm_record, tokenizer_dir)
    loaded, record = load_sulm(tmp_path)
    assert record == sulm_record and not loaded.training
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "model.yaml", "tokenizer"]
    assert (tmp_path / "tokenizer" / "units.txt").is_file()
    batch = prefixes([0, 1, 2])
    assert written(loaded, batch) == written(sulm, batch)


def test_the_record_keeps_the_template(sulm, sulm_record, tokenizer_dir, tmp_path):
    template = TemplateConfig("chatml", speech_first=True, system=None)
    save_sulm(tmp_path, sulm, replace(sulm_record, template=template), tokenizer_dir)
    assert load_sulm(tmp_path)[1].template == template


def test_a_record_without_a_template_has_the_papers(sulm, sulm_record, tokenizer_dir, tmp_path):
    save_sulm(tmp_path, sulm, sulm_record, tokenizer_dir)
    text = (tmp_path / "model.yaml").read_text()
    before, at, _ = text.partition("template:")
    assert at
    (tmp_path / "model.yaml").write_text(before)
    assert load_sulm(tmp_path)[1].template == PAPER == TemplateConfig("plain", speech_first=False)


def test_a_saved_whisper_has_the_same_loss(bpe, collate, whisper_template, tmp_path):
    record = WhisperRecord(SIZES, len(bpe), num_ctc_units=40)
    model = record.build().eval()
    save_whisper(tmp_path, model, record)
    loaded, found = load_whisper(tmp_path)
    batch = collate([0, 1], whisper_template)
    assert found == record and torch.equal(loaded.eval()(batch).nll, model(batch).nll)


@pytest.fixture
def with_lora(sulm_record, qwen2_dir):
    """LoRA on a pretrained LLM, and a trained-looking update."""
    cfg = replace(sulm_record.model, llm=LlmSizes(path=str(qwen2_dir)), lora=LoraConfig(rank=2))
    record = replace(sulm_record, model=cfg)
    model = record.build().eval()
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p)
    return model, record


def test_a_frozen_pretrained_llm_stays_in_its_own_folder(with_lora, tokenizer_dir, prefixes, tmp_path):
    model, record = with_lora
    save_sulm(tmp_path / "sulm", model, record, tokenizer_dir)
    stored = [n for n in load_file(tmp_path / "sulm" / "model.safetensors") if n.startswith("llm.")]
    assert stored and all("lora_" in n for n in stored)
    loaded, _ = load_sulm(tmp_path / "sulm")
    batch = prefixes([0, 1, 2])
    assert written(loaded, batch) == written(model, batch)


def test_a_moved_pretrained_llm_is_named(with_lora, tokenizer_dir, qwen2_dir, tmp_path):
    save_sulm(tmp_path / "sulm", *with_lora, tokenizer_dir)
    qwen2_dir.rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="qwen2"):
        load_sulm(tmp_path / "sulm")


def test_a_missing_parameter_is_named(sulm, sulm_record, tokenizer_dir, tmp_path):
    save_sulm(tmp_path, sulm, sulm_record, tokenizer_dir)
    found = load_file(tmp_path / "model.safetensors")
    del found["adaptor.proj.bias"]
    save_file(found, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors: 1 parameters are missing, for example adaptor.proj.bias"):
        load_sulm(tmp_path)


def test_a_record_with_a_mistake_is_named(sulm, sulm_record, tokenizer_dir, tmp_path):
    save_sulm(tmp_path, sulm, sulm_record, tokenizer_dir)
    text = (tmp_path / "model.yaml").read_text()
    (tmp_path / "model.yaml").write_text(text.replace("vocab_size:", "vocab_sise:"))
    with pytest.raises(ValueError, match=r"model\.yaml: .*vocab_sise"):
        load_sulm(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.yaml: no such config"):
        load_sulm(tmp_path)
