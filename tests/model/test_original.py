"""The published model's own outputs: encoder, adaptor, LLM with LoRA, loss and greedy continuation are the same."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from osum.model.build import build_encoder, build_speech_llm
from osum.model.configs import AdaptorConfig, LlmSizes, LoraConfig, SpeechLlmConfig, WhisperSizes
from osum.model.generate import extend
from osum.model.packing import Packing
from osum.model.store import fill

GOLDEN = Path(__file__).parent / "golden"
UNUSED = r"ln_speech|speaker_head|embed_tokens\.weight$|lm_head\.weight$|speech_transformer\.embed\.pos_enc"
RENAMED = {
    r"^llama_model\.base_model\.model\.": "llm.",
    r"^encoder\.embed\.conv\.0\.": "encoder.whisper.conv1.",
    r"^encoder\.embed\.conv\.2\.": "encoder.whisper.conv2.",
    r"^encoder\.embed\.pos_enc\.pe$": "encoder.whisper.embed_positions.weight",
    r"^encoder\.after_norm\.": "encoder.whisper.layer_norm.",
    r"^(encoder)\.encoders\.(\d+)\.norm1\.": r"encoder.whisper.layers.\2.self_attn_layer_norm.",
    r"^(encoder)\.encoders\.(\d+)\.norm2\.": r"encoder.whisper.layers.\2.final_layer_norm.",
    r"^encoder\.encoders\.": "encoder.whisper.layers.",
    r"^speech_transformer\.embed\.out\.": "adaptor.embed.",
    r"^speech_transformer\.after_norm\.": "adaptor.norm.",
    r"^speech_transformer\.encoders\.(\d+)\.norm1\.": r"adaptor.layers.\1.attn_norm.",
    r"^speech_transformer\.encoders\.(\d+)\.norm2\.": r"adaptor.layers.\1.ffn_norm.",
    r"^speech_transformer\.encoders\.(\d+)\.self_attn\.": r"adaptor.layers.\1.",
    r"^speech_transformer\.encoders\.": "adaptor.layers.",
    r"^down_sample_2\.conv\.1\.": "adaptor.convs.0.conv.",
    r"^down_sample_2\.conv\.4\.": "adaptor.convs.1.conv.",
    r"^down_sample_2\.conv\.7\.": "adaptor.convs.2.conv.",
    r"^speech_llama_proj\.": "adaptor.proj.",
    r"^speech_token_emded\.": "boundaries.",
    r"linear_([qkv])\.": r"\1_proj.",
    r"linear_out\.": "out_proj.",
    r"feed_forward\.w_": "fc",
}


def our_name(name):
    for pattern, replacement in RENAMED.items():
        name = re.sub(pattern, replacement, name)
    return name


def ours(state, num_speech_tokens):
    """Rename the original's parameters."""
    kept = {n: v for n, v in state.items() if n.startswith("llama_model") or not re.search(UNUSED, n)}
    found = {our_name(n): v for n, v in kept.items()}
    found["encoder.whisper.embed_positions.weight"] = found["encoder.whisper.embed_positions.weight"][0]
    found["boundaries.weight"] = found["boundaries.weight"][num_speech_tokens:]
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    sizes = json.loads((GOLDEN / "config.json").read_text())
    folder = tmp_path_factory.mktemp("qwen2")
    llm = {**sizes["llm"], "rope_parameters": {"rope_type": "default", "rope_theta": sizes["llm"].pop("rope_theta")}}
    Qwen2ForCausalLM(Qwen2Config(**llm)).save_pretrained(folder)
    e, a, lora = sizes["encoder"], sizes["adapter"], sizes["lora"]
    whisper = WhisperSizes(
        d_model=e["output_size"],
        encoder_layers=e["num_blocks"],
        num_heads=e["attention_heads"],
        ffn_dim=e["linear_units"],
    )
    cfg = SpeechLlmConfig(
        AdaptorConfig(a["transformer_blocks"], a["attention_heads"], a["linear_units"]),
        LlmSizes(path=str(folder)),
        LoraConfig(rank=lora["rank"], alpha=lora["alpha"], targets=lora["target_modules"]),
    )
    model = build_speech_llm(cfg, build_encoder(whisper), llm["vocab_size"], 0, num_ctc_units=0).eval()
    state = torch.load(GOLDEN / "original.pt", weights_only=True)
    # The position table of the adaptor is computed, not stored: it has to come out the same.
    table = state["speech_transformer.embed.pos_enc.pe"][0, : len(model.adaptor.positions)]
    torch.testing.assert_close(model.adaptor.positions, table, atol=1e-6, rtol=0)
    fill(model, ours(state, sizes["speech_token_num"]), "original.pt")
    return model


@pytest.fixture(scope="module")
def golden():
    found = load_file(GOLDEN / "golden.safetensors")
    return [{n[2:]: v for n, v in found.items() if n.startswith(f"{i}.")} for i in range(2)]


def listen(model, utterances):
    """Return encoder output, speech embeddings and their packings."""
    lens = torch.tensor([len(u["feats"]) for u in utterances])
    mel = torch.full((len(lens), 80, int(lens.max())), torch.nan)
    for row, u in zip(mel, utterances, strict=True):
        row[:, : len(u["feats"])] = u["feats"].T
    frames, frame_packing = model.encoder(mel, lens)
    return frames, frame_packing, *model.adaptor(frames, frame_packing)


def embed(model, utterances, speech, packing, with_target):
    """Return the packed embeddings of whole sequences, or of prompts and speech only."""
    ids, mask, lens = [], [], []
    for u, num_speech in zip(utterances, packing.lens.tolist(), strict=True):
        target = u["target"] if with_target else u["target"][:0]
        ids += [u["prompt"], torch.zeros(num_speech + 2, dtype=torch.int64), target]
        mask += [False] * len(u["prompt"]) + [True] * (num_speech + 2) + [False] * len(target)
        lens.append(len(u["prompt"]) + num_speech + 2 + len(target))
    return model.splice(torch.cat(ids), torch.tensor(mask), speech, packing), Packing(torch.tensor(lens))


def close(found, wanted):
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("chosen", [[0], [1], [0, 1], [1, 0, 1]], ids=str)
@torch.inference_mode()
def test_outputs_are_the_originals_alone_and_in_any_pack(model, golden, chosen):
    utterances = [golden[i] for i in chosen]
    frames, frame_packing, speech, packing = listen(model, utterances)
    sequence, segments = embed(model, utterances, speech, packing, with_target=True)
    logits = model.llm.lm_head(model.read(sequence, segments)).split(segments.lens.tolist())
    by_utterance = (frames.split(frame_packing.lens.tolist()), speech.split(packing.lens.tolist()), logits)
    for u, encoder_out, speech_embeds, own_logits in zip(utterances, *by_utterance, strict=True):
        close(encoder_out, u["encoder_out"])
        close(speech_embeds, u["speech_embeds"])
        close(own_logits, u["logits"])
        close(cross_entropy(own_logits[-len(u["target"]) - 1 : -1], u["target"]), u["loss"])


@torch.inference_mode()
def test_greedy_continuation_is_the_originals(model, golden):
    _, _, speech, packing = listen(model, golden)
    never = model.llm.config.vocab_size
    config = GenerationConfig(max_new_tokens=16, do_sample=False, eos_token_id=never, pad_token_id=never)
    for written, u in zip(extend(model, *embed(model, golden, speech, packing, False), config), golden, strict=True):
        assert written.ids == u["greedy"].tolist() and written.truncated
