"""What is refused, and the forms of checkpoint that the golden ones are not; exactness is in test_original.py above."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from osum.model.build import build_encoder, build_speech_llm
from osum.model.configs import AdaptorConfig, LlmSizes, LoraConfig, SpeechLlmConfig, WhisperSizes
from osum.model.convert.original import OriginalNames, convert_original
from osum.model.convert.original_config import OriginalConfig, read_original_config
from osum.model.folder import load_sulm

ENCODER = WhisperSizes(d_model=16, encoder_layers=1, decoder_layers=0, num_heads=2, ffn_dim=32)


@pytest.fixture
def golden(repo_root, tmp_path):
    """State and settings of the small set, to be changed."""
    folder = repo_root / "tests/model/golden"
    return torch.load(folder / "original.pt", weights_only=True), read_original_config(folder / "config.json")


def convert(folder, state, cfg, **options):
    torch.save(state, folder / "original.pt")
    convert_original(folder / "original.pt", cfg, folder / "out", {}, **{"tokenizer": None, **options})
    return load_sulm(folder / "out")


def test_the_folder_can_move_as_the_llm_is_inside(golden, tmp_path):
    convert(tmp_path, *golden)
    (tmp_path / "out").rename(tmp_path / "moved")
    model, record = load_sulm(tmp_path / "moved")
    assert record.model.llm.path == str(tmp_path / "moved" / "llm")
    head = golden[0]["llama_model.base_model.model.lm_head.weight"]
    assert torch.equal(model.llm.lm_head.weight, head)
    assert [
        n for n, p in model.named_parameters() if n.startswith("llm.") and p.requires_grad and "lora_" not in n
    ] == []


def test_the_prefix_of_ddp_is_taken_away(golden, tmp_path):
    state, cfg = golden
    model, _ = convert(tmp_path, {f"module.{n}": v for n, v in state.items()}, cfg)
    assert torch.equal(model.adaptor.proj.bias, state["speech_llama_proj.bias"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speech_llama_proj.bias": None}, "1 tensors are missing.*: speech_llama_proj.bias$"),
        ({"speech_token_emded.weight": None}, "1 tensors are missing.*: speech_token_emded.weight$"),
        ({"llama_model.base_model.model.model.norm.weight": None}, "missing.*: llama_model.*.model.norm.weight"),
        ({"task_embeddings.weight": torch.ones(2)}, "1 tensors are unknown; .*: task_embeddings.weight$"),
        ({"embed_tokens.weight": torch.ones(96, 16)}, r"not the equal copies .*: embed_tokens.weight \(of llama_model"),
        ({"lm_head.weight": torch.ones(96, 16)}, "not the equal copies .*: lm_head.weight"),
        ({"speech_llama_proj.bias": torch.ones(15)}, r"speech_llama_proj.bias \(15,\) instead of \(16,\)"),
        ({"speech_token_emded.weight": torch.ones(9, 16)}, r"is \(9, 16\), but speech_token_num 5 .* makes 7 rows"),
        ({"speech_transformer.embed.pos_enc.pe": torch.ones(1, 5000, 16)}, "not the table of positions"),
    ],
)  # fmt: skip
def test_every_tensor_is_accounted_for(golden, tmp_path, changes, message):
    state = {n: v for n, v in {**golden[0], **changes}.items() if v is not None}
    with pytest.raises(ValueError, match=rf"original.pt: .*{message}"):
        convert(tmp_path, state, golden[1])


def test_unknown_tensors_are_left_out_on_demand(golden, tmp_path):
    state = {**golden[0], "task_embeddings.weight": torch.ones(2)}
    assert convert(tmp_path, state, golden[1], leave_out="^task_emb")[1].eos_token_id == 0


def test_sizes_that_the_config_gets_wrong_are_shown(golden, tmp_path):
    cfg = replace(golden[1], encoder=replace(golden[1].encoder, n_mels=128))
    with pytest.raises(ValueError, match=r"encoder.embed.conv.0.weight \(16, 80, 3\) instead of \(16, 128, 3\)"):
        convert(tmp_path, golden[0], cfg)


def test_the_tokenizer_must_end_targets_as_the_original_does(golden, bpe, tmp_path):
    state, cfg = golden
    with pytest.raises(ValueError, match=r"eos_token is 0, but targets of this checkpoint end with 90; set eos_token"):
        convert(tmp_path, state, replace(cfg, end_token_id=90), tokenizer=bpe)
    record = convert(tmp_path, state, replace(cfg, end_token_id=0), tokenizer=bpe)[1]
    assert record.eos_token_id == 0 and (tmp_path / "out" / "tokenizer" / "tokenizer.json").is_file()


@pytest.mark.parametrize("has_lora", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tied_embeddings_and_half_precision_convert(has_lora, dtype, tmp_path):
    llm = Qwen2Config(
        vocab_size=96, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    lora = LoraConfig(rank=2) if has_lora else None
    made, state = original_like(llm, lora, dtype, tmp_path)
    cfg = OriginalConfig(ENCODER, AdaptorConfig(2, 2, 32), llm, None, lora, num_speech_tokens=3, end_token_id=95)
    model, record = convert(tmp_path, state, cfg)
    assert record.eos_token_id == 95
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for (name, ours), (_, theirs) in zip(model.named_parameters(), made.named_parameters(), strict=True):
        assert torch.equal(ours, theirs.to(dtype).float()), name
    assert json.loads((tmp_path / "out/llm/config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")


def original_like(llm, lora, dtype, folder):
    """Return a random model, and its state under the original's names with the copies that torch saves."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(llm).save_pretrained(folder / "llm")
    sizes = SpeechLlmConfig(AdaptorConfig(2, 2, 32), LlmSizes(path=str(folder / "llm")), lora)
    model = build_speech_llm(sizes, build_encoder(ENCODER), 96, 95, num_ctc_units=0)
    names = OriginalNames(lora is not None)
    state = {names(n): p.detach().to(dtype) for n, p in model.named_parameters()}
    boundaries = state["speech_token_emded.weight"]
    state["speech_token_emded.weight"] = torch.cat([torch.zeros(3, 16, dtype=dtype), boundaries])
    for copy in ("embed_tokens.weight", "lm_head.weight", names("llm.lm_head.weight")):
        state[copy] = state[names("llm.model.embed_tokens.weight")]
    table = torch.cat([model.adaptor.positions, torch.zeros(40, 16)])
    state["speech_transformer.embed.pos_enc.pe"] = table[None].to(dtype)
    return model, state
