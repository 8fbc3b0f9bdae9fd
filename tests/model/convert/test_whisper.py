import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from osum.model.convert.whisper import read_whisper
from osum.model.packing import Packing

SOURCES = ("hf", "openai", "wenet")


@pytest.mark.parametrize("source", SOURCES)
@torch.no_grad()
def test_logits_are_those_of_transformers(checkpoints, hf_whisper, source):
    model, record = read_whisper(source, *checkpoints[source])
    model.eval()
    mel = torch.randn(1, 128, 3000, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[7, 3, 49, 0, 12]])
    theirs = hf_whisper(input_features=mel, decoder_input_ids=ids)
    frames, memory = model.encoder(mel, torch.tensor([3000]))
    torch.testing.assert_close(frames, theirs.encoder_last_hidden_state[0], atol=1e-4, rtol=0)
    logits = model.head(model.decode(ids[0], Packing(torch.tensor([5])), frames, memory))
    torch.testing.assert_close(logits, theirs.logits[0], atol=1e-4, rtol=1e-5)
    assert (record.vocab_size, record.num_ctc_units, record.model.n_mels, record.model.path) == (50, 0, 128, None)


def test_half_precision_becomes_float32(checkpoints):
    path, config = checkpoints["wenet"]
    torch.save({n: p.half() for n, p in torch.load(path, weights_only=True).items()}, path)
    model, _ = read_whisper("wenet", path, config)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def changed(path, **changes):
    """Write the state again: None removes a tensor."""
    state = {**torch.load(path, weights_only=True), **{name.replace("__", "."): v for name, v in changes.items()}}
    torch.save({n: v for n, v in state.items() if v is not None}, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder__embed__conv__0__bias": None}, r"wenet.pt: 1 tensors are missing.*: encoder.embed.conv.0.bias$"),
        ({"encoder__extra": torch.ones(2)}, r"1 tensors are unknown; --leave_out REGEX .*: encoder.extra$"),
        ({"encoder__after_norm__bias": torch.ones(17)}, r"encoder.after_norm.bias \(17,\) instead of \(16,\)"),
        ({"decoder__output_layer__weight": torch.ones(50, 16)}, r"not the equal copies .*: decoder.output_layer"),
        ({"decoder__output_layer__bias": torch.ones(50)}, r"not zero, but Whisper's output layer has no bias: decoder"),
    ],
)  # fmt: skip
def test_every_tensor_is_accounted_for(checkpoints, changes, message):
    path, config = checkpoints["wenet"]
    changed(path, **changes)
    with pytest.raises(ValueError, match=message):
        read_whisper("wenet", path, config)


def test_tensors_are_left_out_on_demand_only_and_wenets_ctc_always(checkpoints):
    path, config = checkpoints["wenet"]
    extras = {"ctc__ctc_lo__weight": torch.ones(50, 16), "decoder__output_layer__bias": torch.ones(50)}
    changed(path, **extras)
    model, _ = read_whisper("wenet", path, config, leave_out=r"output_layer\.bias$")
    assert model.ctc_head is None


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("encoder_conf", "pos_enc_layer_type", "rel_pos"),
        ("encoder_conf", "key_bias", True),
        ("decoder_conf", "tie_word_embedding", False),
        ("decoder_conf", "linear_units", 128),
    ],
)
def test_what_is_not_whisper_is_refused_by_its_config(checkpoints, wenet_settings, part, key, value):
    path, config = checkpoints["wenet"]
    wenet_settings[part][key] = value
    config.write_text(json.dumps(wenet_settings))
    with pytest.raises(ValueError, match=f"train.json, {part}: {key} is {value!r}"):
        read_whisper("wenet", path, config)


def test_an_openai_state_without_sizes_needs_a_config(checkpoints, tmp_path):
    held = torch.load(checkpoints["openai"][0], weights_only=True)
    torch.save(held["model_state_dict"], tmp_path / "bare.pt")
    with pytest.raises(ValueError, match=r"bare.pt: says no sizes .*--config"):
        read_whisper("openai", tmp_path / "bare.pt", None)
    (tmp_path / "dims.json").write_text(json.dumps(held["dims"]))
    assert read_whisper("openai", tmp_path / "bare.pt", tmp_path / "dims.json")[1].vocab_size == 50


def test_a_folder_of_another_kind_is_refused(checkpoints):
    folder = checkpoints["hf"][0]
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(ValueError, match="model_type is 'qwen2'; only 'whisper' can be converted"):
        read_whisper("hf", folder, None)


def test_a_hugging_face_folder_is_accounted_for_as_well(checkpoints):
    path = checkpoints["hf"][0] / "model.safetensors"
    state = load_file(path)
    save_file({**state, "proj_out.weight": state["model.decoder.embed_tokens.weight"] + 1}, path)
    with pytest.raises(ValueError, match=r"equal copies .*: proj_out.weight \(of decoder.embed_tokens.weight\)"):
        read_whisper("hf", checkpoints["hf"][0], None)
