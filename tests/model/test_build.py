from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, WhisperConfig, WhisperModel

from osum.model.build import build_encoder, build_speech_llm, build_whisper, freeze
from osum.model.configs import LlmSizes, LoraConfig, WhisperSizes
from osum.model.ending import StopRules
from osum.model.generate import generate
from osum.model.packing import Packing
from osum.model.precision import halve
from osum.text.template import IGNORED

LORA = LoraConfig(rank=2, alpha=8)


def with_model(record, **changes):
    return replace(record, model=replace(record.model, **changes)).build()


def trained(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


def test_lora_trains_itself_and_nothing_else_of_the_llm(sulm_record):
    model = with_model(sulm_record, lora=LORA)
    of_llm = [n for n in trained(model) if n.startswith("llm.")]
    per_layer = 6 * 2  # q, k, v, o, gate, down: A and B each; up_proj has none in the paper
    assert len(of_llm) == 2 * per_layer and all(".lora_A." in n or ".lora_B." in n for n in of_llm)
    assert not any("up_proj" in n for n in of_llm)
    others = {n.split(".")[0] for n in trained(model)} - {"llm"}
    assert others == {"encoder", "adaptor", "boundaries", "ctc_head"}


def test_lora_goes_to_up_proj_if_named(sulm_record, collate):
    model = with_model(sulm_record, lora=replace(LORA, targets=[*LORA.targets, "up_proj"]))
    of_up = {n: p for n, p in model.llm.named_parameters() if "up_proj.lora_" in n}
    assert len(of_up) == 2 * 2 and all(p.requires_grad for p in of_up.values())
    model(collate([0, 1])).weighted_nll.backward()
    assert all(p.grad.any() for n, p in of_up.items() if "lora_B" in n)


def test_a_lora_target_that_names_no_layer_is_an_error(sulm_record):
    with pytest.raises(ValueError, match=r"no linear layer is named 'upproj'; near names: up_proj"):
        with_model(sulm_record, lora=replace(LORA, targets=["q_proj", "upproj"]))
    with pytest.raises(ValueError, match=r"no linear layer is named 'mlp.q_proj'"):
        with_model(sulm_record, lora=replace(LORA, targets=["mlp.q_proj", "mlp.up_proj"]))


def test_lora_starts_as_no_change_and_is_scaled_by_alpha_over_rank(sulm_record, prefixes):
    torch.manual_seed(0)
    plain = sulm_record.build().eval()
    model = with_model(sulm_record, lora=LORA).eval()
    layer = model.llm.model.layers[0].mlp.down_proj
    x = torch.randn(3, 32)
    assert torch.equal(layer(x), layer.base_layer(x))
    torch.nn.init.ones_(layer.lora_B["default"].weight)
    update = x @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T * 8 / 2
    torch.testing.assert_close(layer(x), layer.base_layer(x) + update)
    assert sum(p.numel() for p in plain.llm.parameters()) < sum(p.numel() for p in model.llm.parameters())


def test_frozen_is_what_a_pattern_matches(sulm_record):
    model = with_model(sulm_record, freeze=["^encoder", r"^llm\.model\.layers\.0"])
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert all(n.startswith(("encoder", "llm.model.layers.0.")) for n in frozen)
    assert not any(n.startswith(("encoder", "llm.model.layers.0.")) for n in trained(model))
    assert any(n.startswith("llm.model.layers.1.") for n in trained(model))


def test_a_pattern_without_a_match_is_an_error_with_near_names(sulm):
    with pytest.raises(ValueError, match=r"no parameter matches 'boundary.weight'; near names: boundaries.weight"):
        freeze(sulm, ["boundary.weight"])


def test_a_pretrained_llm_keeps_its_weights_in_float32_but_not_its_taste(sulm_record, qwen2_dir, prefixes):
    model = with_model(sulm_record, llm=LlmSizes(path=str(qwen2_dir))).eval()
    assert model.llm.config.vocab_size == sulm_record.vocab_size + 20
    assert not model.llm.config.tie_word_embeddings
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    plain = generate(model, prefixes([0, 1]), [8, 8], StopRules(frozenset({0})))
    assert plain == generate(model, prefixes([0, 1]), [8, 8], StopRules(frozenset({0})))
    assert any(len(set(g.ids)) < len(g.ids) for g in plain), "a repetition penalty of 9 would leave no repetition"


@pytest.mark.parametrize("stored", ["bfloat16", "float32"])
def test_for_bfloat16_a_frozen_llm_stays_as_stored_until_it_is_halved(sulm_record, qwen2_dir, stored):
    AutoModelForCausalLM.from_pretrained(qwen2_dir, dtype=getattr(torch, stored)).save_pretrained(qwen2_dir)
    cfg = replace(sulm_record.model, llm=LlmSizes(path=str(qwen2_dir)), lora=LoraConfig(rank=2))
    models = []
    for precision in ("bfloat16", "float32"):
        torch.manual_seed(0)
        models.append(replace(sulm_record, model=cfg).build(precision))
    for name, p in models[0].llm.named_parameters():
        frozen_matrix = p.ndim > 1 and not p.requires_grad
        assert p.dtype == (getattr(torch, stored) if frozen_matrix else torch.float32), name
    for model in models:
        halve(p for p in model.parameters() if not p.requires_grad)
    ours, theirs = (dict(m.named_parameters()) for m in models)
    assert ours.keys() == theirs.keys() and {p.dtype for p in ours.values()} == {torch.float32, torch.bfloat16}
    for name, p in ours.items():
        # peft draws LoRA's first values in the precision of the layer that it adapts.
        torch.testing.assert_close(p, theirs[name], rtol=0.01 if ".lora_A." in name else 0, atol=0)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_a_frozen_llm_takes_no_memory_besides_its_files(sulm_record, qwen2_dir):
    AutoModelForCausalLM.from_pretrained(qwen2_dir, dtype=torch.bfloat16).save_pretrained(qwen2_dir)
    cfg = replace(sulm_record.model, llm=LlmSizes(path=str(qwen2_dir)), lora=LoraConfig(rank=2))
    model = replace(sulm_record, model=cfg).build("bfloat16")
    halve(p for p in model.parameters() if not p.requires_grad)
    maps = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
    mapped = [tuple(int(end, 16) for end in m[0].split("-")) for m in maps if m[-1] == f"{qwen2_dir}/model.safetensors"]
    frozen = {n: p for n, p in model.llm.named_parameters() if p.ndim > 1 and not p.requires_grad}
    assert len(frozen) == 2 + 2 * 7
    copied = [n for n, p in frozen.items() if not any(start <= p.data_ptr() < end for start, end in mapped)]
    assert copied == [], "each process would hold its own copy"


def test_for_bfloat16_an_llm_that_is_trained_is_float32(sulm_record, qwen2_dir):
    AutoModelForCausalLM.from_pretrained(qwen2_dir, dtype=torch.bfloat16).save_pretrained(qwen2_dir)
    cfg = replace(sulm_record.model, llm=LlmSizes(path=str(qwen2_dir)))
    model = replace(sulm_record, model=cfg).build("bfloat16")
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("tied", [True, False])
def test_the_output_layer_is_tied_as_configured(sulm_record, collate, tied):
    model = with_model(sulm_record, llm=replace(sulm_record.model.llm, tied=tied))
    assert (model.llm.lm_head.weight is model.llm.get_input_embeddings().weight) == tied
    model(collate([0])).weighted_nll.backward()
    assert model.llm.lm_head.weight.grad.any() and model.llm.get_input_embeddings().weight.grad.any()


@pytest.mark.parametrize(("vocab_size", "tied"), [(151_936, True), (152_064, False)])
def test_the_vocabularies_of_qwen2_are_learnt_and_written(sulm_record, collate, prefixes, vocab_size, tied):
    torch.manual_seed(0)
    llm = replace(sulm_record.model.llm, tied=tied)
    model = replace(sulm_record, vocab_size=vocab_size, model=replace(sulm_record.model, llm=llm)).build().eval()
    named = dict(model.llm.named_parameters())
    tables = [name for name, p in named.items() if p.shape == (vocab_size, 24)]
    assert tables == ["model.embed_tokens.weight", "lm_head.weight"][: 1 if tied else 2]
    batch = collate([0])
    found = model(batch).weighted_nll
    found.backward()
    assert all(int(named[name].grad.any(1).sum()) > 300 for name in tables[-1:]), "the softmax reaches every row"
    hidden = model.read(spliced(model, batch), Packing(batch.segment_lens))
    chosen = batch.labels != IGNORED
    nll = cross_entropy(model.llm.lm_head(hidden[chosen]), batch.labels[chosen], reduction="sum")
    torch.testing.assert_close(found.detach(), nll.detach(), rtol=1e-5, atol=0)
    assert all(len(text.ids) == 3 for text in generate(model, prefixes([0, 1]), [3, 3], StopRules(frozenset())))


def spliced(model, batch):
    speech, packing = model.embed_speech(batch.audio, batch.audio_lens)
    return model.splice(batch.input_ids, batch.speech_mask, speech, packing)


@pytest.fixture
def whisper_dir(tmp_path):
    """A pretrained Whisper stored in half precision."""
    config = WhisperConfig(
        vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=128,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    WhisperModel(config).half().save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


def test_a_pretrained_whisper_in_half_precision_becomes_float32(whisper_dir):
    encoder = build_encoder(WhisperSizes(path=str(whisper_dir)))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32} and encoder.n_mels == 128
    stored = WhisperModel.from_pretrained(whisper_dir, dtype=torch.float16).encoder
    assert torch.equal(encoder.whisper.conv1.weight, stored.conv1.weight.float())


def test_a_pretrained_decoder_grows_to_the_vocabulary(whisper_dir, collate, whisper_template, bpe):
    model = build_whisper(WhisperSizes(path=str(whisper_dir)), len(bpe), 40).eval()
    stored = WhisperModel.from_pretrained(whisper_dir, dtype=torch.float32).decoder.embed_tokens.weight
    assert model.head.weight.shape == (len(bpe), 16) and torch.equal(model.head.weight[:40], stored)
    assert model.head.weight is model.decoder.embed_tokens.weight
    assert model(collate([0, 1], whisper_template)).nll.isfinite().all()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        build_encoder(WhisperSizes(path=str(tmp_path / "nowhere")))


def test_seed_decides_the_weights(sulm_record):
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(sulm_record.build())
    one, same, other = (torch.cat([p.flatten() for p in m.parameters() if p.requires_grad]) for m in models)
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_the_parts_can_be_built_alone(sulm_record, bpe):
    model = build_speech_llm(sulm_record.model, build_encoder(sulm_record.encoder), len(bpe), 0, num_ctc_units=0)
    assert model.ctc_head is None
