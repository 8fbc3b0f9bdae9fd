"""A Whisper of ours as a Hugging Face folder, or as a WeNet model folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from transformers import PreTrainedTokenizerBase, WhisperFeatureExtractor, WhisperForConditionalGeneration

from osum.model.convert.card import Licences, model_card
from osum.model.convert.whisper import transformers_name
from osum.model.convert.whisper_names import wenet_name
from osum.model.folder import WhisperRecord
from osum.model.store import parameters_of, save_parameters
from osum.model.whisper import MultitaskWhisper
from osum.outputs import atomic_write

CTC_HEAD = "ctc_head.safetensors"
ENGLISH_VOCAB_SIZE, LARGEST_VOCAB_SIZE = 51_864, 51_866
"""OpenAI's tokenizers: English, and multilingual ones above."""
USAGE = """\
from transformers import WhisperForConditionalGeneration

model = WhisperForConditionalGeneration.from_pretrained(FOLDER)"""


def export_whisper_hf(
    model: MultitaskWhisper,
    record: WhisperRecord,
    out: Path,
    licences: Licences,
    corpora: Mapping[str, str],
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> None:
    """Write a folder of `WhisperForConditionalGeneration` with its feature extractor, and the tokenizer if at hand.

    A CTC head is written beside it. `corpora` are those that it was trained on, with licences.
    """
    kind = type(model.decoder.config)
    config = kind.from_dict({**model.decoder.config.to_dict(), **special_ids(model.head.weight.shape[0])})
    whisper = WhisperForConditionalGeneration(config)
    whisper.model.encoder.load_state_dict(model.encoder.whisper.state_dict())
    whisper.model.decoder.load_state_dict(model.decoder.state_dict())
    whisper.save_pretrained(out)
    WhisperFeatureExtractor(feature_size=model.encoder.n_mels).save_pretrained(out)
    if tokenizer is not None:
        tokenizer.save_pretrained(out)
    contents = {"model.safetensors": "encoder and decoder"}
    if model.ctc_head is not None:
        save_parameters({n: p.detach() for n, p in model.ctc_head.named_parameters()}, out / CTC_HEAD)
        contents[CTC_HEAD] = "output layer of an auxiliary CTC loss on the encoder"
    parts = {"encoder and decoder": record.model.path or "not recorded"}
    atomic_write(out / "README.md", model_card("Multi-task Whisper", contents, USAGE, parts, licences, corpora))


def leave_out_ctc(model: MultitaskWhisper, record: WhisperRecord, pattern: str | None) -> WhisperRecord:
    """Take the CTC head off a model if the pattern asks for it; return the record of what is left.

    ValueError for a pattern that means anything else: nothing but this head can be done without.
    """
    if pattern is None:
        return record
    named = [name for name in parameters_of(model) if re.search(pattern, name)]
    if not named or any(not name.startswith("ctc_head.") for name in named):
        raise ValueError(f"--leave_out {pattern!r} matches {named[:3] or 'nothing'}; of ours only '^ctc_head' can go")
    model.ctc_head = None
    return replace(record, num_ctc_units=0)


def export_whisper_wenet(model: MultitaskWhisper, record: WhisperRecord, out: Path) -> None:
    """Write `final.pt` and the `train.yaml` of its sizes, to which WeNet wants tokenizer, data and training added.

    ValueError for a model with a CTC head: WeNet's has other units.
    """
    if model.ctc_head is not None:
        raise ValueError("WeNet's CTC head has the decoder's units, ours its own; --leave_out '^ctc_head' does without")
    state = {}
    for name, value in parameters_of(model).items():
        theirs = wenet_name(transformers_name(name))
        state[theirs] = value[None] if theirs.endswith(".pe") else value
    state["decoder.output_layer.weight"] = model.head.weight.detach()
    state["decoder.output_layer.bias"] = torch.zeros(model.head.weight.shape[0])
    out.mkdir(parents=True, exist_ok=True)
    torch.save(state, out / "final.pt")
    atomic_write(out / "train.yaml", yaml.safe_dump(_wenet_config(model), sort_keys=False))


def special_ids(vocab_size: int) -> dict[str, int]:
    """Return the ids that generation starts and ends with in OpenAI's tokenizers; 0 for any other vocabulary."""
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    if not ENGLISH_VOCAB_SIZE <= vocab_size <= LARGEST_VOCAB_SIZE:
        return dict.fromkeys((*names, "decoder_start_token_id"), 0)
    end = 50_256 if vocab_size == ENGLISH_VOCAB_SIZE else 50_257
    return {**dict.fromkeys(names, end), "decoder_start_token_id": end + 1}


def _wenet_config(model: MultitaskWhisper) -> dict[str, object]:
    sizes = model.decoder.config
    common = {
        "attention_heads": sizes.encoder_attention_heads,
        "linear_units": sizes.encoder_ffn_dim,
        "dropout_rate": sizes.dropout,
        "normalize_before": True,
        "key_bias": False,
        "activation_type": "gelu",
    }
    encoder = {
        "input_layer": "conv1d2",
        "pos_enc_layer_type": "abs_pos_whisper",
        "output_size": sizes.d_model,
        "num_blocks": sizes.encoder_layers,
        **common,
    }
    decoder = {
        "input_layer": "embed_learnable_pe",
        "num_blocks": sizes.decoder_layers,
        **common,
        "src_key_bias": False,
        "src_attention": True,
        "use_output_layer": True,
        "tie_word_embedding": True,
    }
    return {
        "model": "whisper",
        "input_dim": sizes.num_mel_bins,
        "output_dim": sizes.vocab_size,
        "encoder": "transformer",
        "encoder_conf": encoder,
        "decoder": "transformer",
        "decoder_conf": decoder,
    }
