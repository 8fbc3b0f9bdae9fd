from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, WhisperModel

from osum.model.configs import LlmSizes, LoraConfig
from osum.model.convert.card import Licences
from osum.model.convert.export_sulm import export_sulm
from osum.model.folder import save_sulm


@pytest.fixture(params=["from_sizes", "from_a_folder"])
def trained(request, sulm_record, qwen2_dir, tokenizer_dir, tmp_path):
    """A model with a LoRA that changes something, and its folder."""
    torch.manual_seed(1)
    llm = sulm_record.model.llm if request.param == "from_sizes" else LlmSizes(path=str(qwen2_dir))
    record = replace(sulm_record, model=replace(sulm_record.model, llm=llm, lora=LoraConfig(rank=2, alpha=8)))
    model = record.build().eval()
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.5)
    save_sulm(tmp_path / "sulm", model, record, tokenizer_dir)
    return model, tmp_path / "sulm"


def export(trained, out, lora):
    export_sulm(trained[1], out, lora, Licences(corpora={"AISHELL-1": "apache-2.0"}), final=out)
    return out


@torch.no_grad()
def logits(llm):
    return llm(input_ids=torch.arange(5, 17)[None]).logits


@pytest.mark.parametrize("lora", ["merge", "adapter"])
def test_the_llm_loads_plainly_with_the_same_logits(trained, lora, tmp_path):
    out = export(trained, tmp_path / "hf", lora)
    loaded = AutoModelForCausalLM.from_pretrained(out).eval()
    torch.testing.assert_close(logits(loaded), logits(trained[0].llm), atol=1e-5, rtol=1e-5)
    has_lora = any("lora_" in name for name, _ in loaded.named_parameters())
    assert has_lora == (lora == "adapter")
    assert AutoTokenizer.from_pretrained(out).decode(AutoTokenizer.from_pretrained(out)("hello there").input_ids)


def test_an_adapter_names_its_base_or_brings_it(trained, qwen2_dir, tmp_path):
    out = export(trained, tmp_path / "hf", "adapter")
    text = (out / "adapter_config.json").read_text()
    if (out / "base").is_dir():
        assert str(out / "base") in text
        base = AutoModelForCausalLM.from_pretrained(out / "base").eval()
        assert not torch.allclose(logits(base), logits(trained[0].llm), atol=1e-2)
    else:
        assert str(qwen2_dir) in text and f"| LLM | {qwen2_dir} |" in (out / "README.md").read_text()


@torch.no_grad()
def test_what_hears_is_beside_it(trained, tmp_path):
    model, out = trained[0], export(trained, tmp_path / "hf", "merge")
    encoder = WhisperModel.from_pretrained(out / "encoder").eval().encoder
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    frames, _ = model.encoder(mel, torch.tensor([3000]))
    torch.testing.assert_close(encoder(mel).last_hidden_state[0], frames, atol=1e-4, rtol=0)
    speech = load_file(out / "speech.safetensors")
    assert {n.split(".")[0] for n in speech} == {"adaptor", "boundaries", "ctc_head"}
    assert all(torch.equal(model.get_parameter(n), value) for n, value in speech.items())
    accounted = (
        len(speech) + len(load_file(out / "encoder" / "model.safetensors")) + len(load_file(out / "model.safetensors"))
    )
    lora = sum("lora_" in n for n, _ in model.named_parameters())
    empty_decoder = 4  # token embedding, positions, final norm's weight and bias
    assert accounted - empty_decoder == len(list(model.named_parameters())) - lora


def test_the_card_lists_files_and_licences(trained, tmp_path):
    out = export(trained, tmp_path / "hf", "merge")
    card = (out / "README.md").read_text()
    assert "| AISHELL-1 | apache-2.0 |" in card
    listed = [line.split("|")[1].strip() for line in card.splitlines() if line.startswith("| ")]
    for name in ("model.safetensors", "encoder/", "speech.safetensors", "model.yaml"):
        assert name in listed and Path(out / name).exists()


def test_an_adapter_of_a_model_without_lora_is_refused(sulm, sulm_record, tokenizer_dir, tmp_path):
    save_sulm(tmp_path / "sulm", sulm, sulm_record, tokenizer_dir)
    with pytest.raises(ValueError, match=r"sulm: the model has no LoRA; use --lora merge"):
        export_sulm(tmp_path / "sulm", tmp_path / "hf", "adapter", Licences(), tmp_path / "hf")


def test_rows_of_added_tokens_are_in_the_tables(sulm_record, qwen2_dir, bpe, tokenizer_dir, tmp_path):
    cfg = replace(sulm_record.model, llm=LlmSizes(path=str(qwen2_dir)), lora=LoraConfig(rank=2))
    record = replace(sulm_record, model=cfg, added_token_ids=[len(bpe) - 2, len(bpe) - 1])
    model = record.build().eval()
    for rows in (model.llm.model.embed_tokens.rows, model.llm.lm_head.rows):
        torch.nn.init.normal_(rows)
    save_sulm(tmp_path / "sulm", model, record, tokenizer_dir)
    loaded = AutoModelForCausalLM.from_pretrained(export((model, tmp_path / "sulm"), tmp_path / "hf", "merge")).eval()
    ids = torch.arange(len(bpe) - 6, len(bpe))[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model.llm(ids).logits, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="no place for the rows of added tokens; use --lora merge"):
        export((model, tmp_path / "sulm"), tmp_path / "adapter", "adapter")
