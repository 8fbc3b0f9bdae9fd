"""Whisper from a Hugging Face folder, OpenAI's or WeNet's checkpoint, as a model of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import WhisperConfig

from osum.model.configs import WhisperSizes
from osum.model.convert.account import Account, shapes_of
from osum.model.convert.checkpoint import plain_state, read_folder, read_object, read_state
from osum.model.convert.settings import Settings
from osum.model.convert.whisper_names import openai_name, wenet_name
from osum.model.folder import WhisperRecord
from osum.model.store import fill, parameters_of
from osum.model.whisper import MultitaskWhisper

HEADS = ("proj_out.weight", "decoder.output_layer.weight")
"""The output layer in a Hugging Face folder and in WeNet, tied to the token embedding."""


@dataclass
class Found:
    """A checkpoint with its sizes."""

    sizes: WhisperSizes
    vocab_size: int
    account: Account
    name: Callable[[str], str]
    """From a name in transformers' `WhisperModel` to the checkpoint's."""


def read_whisper(
    source: str, checkpoint: Path, config: Path | None, leave_out: str | None = None
) -> tuple[MultitaskWhisper, WhisperRecord]:
    """Return Whisper from a `hf` folder, an `openai` or a `wenet` checkpoint, float32, without a CTC head.

    `config` may be left out where the checkpoint says its sizes. `leave_out`: pattern of tensors to do without.
    ValueError if a tensor is missing, of another size, or not accounted for.
    """
    found = {"hf": _hf, "openai": _openai, "wenet": _wenet}[source](checkpoint, config)
    record = WhisperRecord(found.sizes, found.vocab_size, num_ctc_units=0)
    model = record.build()
    shapes = shapes_of(parameters_of(model))
    if leave_out is not None:
        found.account.unused(leave_out, "asked for")
    parameters = found.account.take(shapes, lambda ours: found.name(transformers_name(ours)))
    found.account.copies(dict.fromkeys(HEADS, found.name("decoder.embed_tokens.weight")))
    if source == "wenet":
        found.account.unused(r"^ctc\.", "CTC has other units and another blank here")
        found.account.zeros(["decoder.output_layer.bias"], "Whisper's output layer has no bias")
    found.account.close()
    fill(model, parameters, str(checkpoint))
    return model, record


def transformers_name(ours: str) -> str:
    """`encoder.whisper.conv1.bias` -> `encoder.conv1.bias`, as in transformers' `WhisperModel`."""
    return ours.replace("encoder.whisper.", "encoder.")


def _hf(folder: Path, config: Path | None) -> Found:
    path = config or folder / "config.json"
    stored = Settings.read(path)
    stored.require("model_type", "whisper")
    settings = Settings(WhisperConfig.from_dict(dict(stored.values)).to_dict(), str(path))  # with its defaults
    settings.require("activation_function", "gelu", None)
    settings.require("scale_embedding", False, None)
    sizes = WhisperSizes(
        d_model=settings.integer("d_model"),
        encoder_layers=settings.integer("encoder_layers"),
        decoder_layers=settings.integer("decoder_layers"),
        num_heads=_same(settings, "encoder_attention_heads", "decoder_attention_heads"),
        ffn_dim=_same(settings, "encoder_ffn_dim", "decoder_ffn_dim"),
        n_mels=settings.integer("num_mel_bins"),
        dropout=settings.number("dropout"),
    )
    state = {name.removeprefix("model."): value for name, value in read_folder(folder).items()}
    return Found(sizes, settings.integer("vocab_size"), Account(state, str(folder)), lambda name: name)


def _openai(path: Path, config: Path | None) -> Found:
    held = read_object(path)
    whole = isinstance(held, dict) and "dims" in held and "model_state_dict" in held
    if not whole and config is None:
        raise ValueError(f"{path}: says no sizes (`dims`); give them with --config (n_mels, n_audio_state, ...)")
    dims = Settings.read(config) if config is not None else Settings(held["dims"], f"{path}, dims")
    sizes = WhisperSizes(
        d_model=_same(dims, "n_audio_state", "n_text_state"),
        encoder_layers=dims.integer("n_audio_layer"),
        decoder_layers=dims.integer("n_text_layer"),
        num_heads=_same(dims, "n_audio_head", "n_text_head"),
        ffn_dim=4 * dims.integer("n_audio_state"),
        n_mels=dims.integer("n_mels"),
        dropout=0.0,
    )
    state = plain_state(held["model_state_dict"] if whole else held, path)
    return Found(sizes, dims.integer("n_vocab"), Account(state, str(path)), openai_name)


def _wenet(path: Path, config: Path | None) -> Found:
    if config is None:
        raise ValueError(f"{path}: give the train.yaml of the model with --config")
    settings = Settings.read(config)
    encoder, decoder = settings.section("encoder_conf"), settings.section("decoder_conf")
    require_whisper_encoder(encoder)
    decoder.require("input_layer", "embed_learnable_pe")
    decoder.require("key_bias", False)
    decoder.require("src_key_bias", False, None)
    decoder.require("tie_word_embedding", True)
    decoder.agree(encoder, "attention_heads", "linear_units", "activation_type", "normalize_before")
    sizes = encoder_sizes(encoder, settings.integer("input_dim"), decoder.integer("num_blocks"))
    return Found(sizes, settings.integer("output_dim"), Account(read_state(path), str(path)), wenet_name)


def require_whisper_encoder(encoder: Settings) -> None:
    """Refuse an `encoder_conf` of WeNet that is not Whisper's encoder. ValueError naming the key."""
    encoder.require("input_layer", "conv1d2")
    encoder.require("pos_enc_layer_type", "abs_pos_whisper")
    encoder.require("key_bias", False)
    encoder.require("activation_type", "gelu")
    encoder.require("normalize_before", True)


def encoder_sizes(encoder: Settings, n_mels: int, decoder_layers: int) -> WhisperSizes:
    """Return our sizes of an `encoder_conf` of WeNet."""
    return WhisperSizes(
        d_model=encoder.integer("output_size"),
        encoder_layers=encoder.integer("num_blocks"),
        decoder_layers=decoder_layers,
        num_heads=encoder.integer("attention_heads"),
        ffn_dim=encoder.integer("linear_units"),
        n_mels=n_mels,
        dropout=encoder.number("dropout_rate") if "dropout_rate" in encoder.values else 0.1,
    )


def _same(settings: Settings, key: str, other: str) -> int:
    if settings.integer(key) != settings.integer(other):
        raise ValueError(f"{key} {settings.integer(key)} and {other} {settings.integer(other)} must be equal")
    return settings.integer(key)
