from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

from osum.model.convert.card import Licences
from osum.model.convert.export_whisper import export_whisper_hf, export_whisper_wenet, leave_out_ctc, special_ids
from osum.model.convert.whisper import read_whisper
from osum.model.folder import WhisperRecord


def same(one, other):
    theirs = dict(other.named_parameters())
    return all(torch.equal(p, theirs[n]) for n, p in one.named_parameters()) and len(theirs) == len(
        list(one.parameters())
    )


def test_a_hugging_face_folder_comes_out_as_it_went_in(checkpoints, hf_whisper, tmp_path):
    model, record = read_whisper("openai", *checkpoints["openai"])
    export_whisper_hf(model, record, tmp_path / "out", Licences(), {})
    assert same(hf_whisper, WhisperForConditionalGeneration.from_pretrained(tmp_path / "out"))
    assert "| encoder and decoder | not recorded |" in (tmp_path / "out/README.md").read_text()


def test_a_wenet_folder_comes_out_as_it_went_in(checkpoints, tmp_path):
    model, record = read_whisper("hf", *checkpoints["hf"])
    export_whisper_wenet(model, record, tmp_path / "out")
    there, back = torch.load(checkpoints["wenet"][0], weights_only=True), torch.load(
        tmp_path / "out/final.pt", weights_only=True
    )  # fmt: skip
    bias = back.pop("decoder.output_layer.bias")
    assert there.keys() == back.keys() and all(torch.equal(there[n], back[n]) for n in there)
    assert not bias.any()
    again, found = read_whisper("wenet", tmp_path / "out/final.pt", tmp_path / "out/train.yaml")
    assert same(model, again) and found == record


def test_a_ctc_head_stays_beside_it_and_does_not_fit_wenet(checkpoints, tmp_path):
    sizes = read_whisper("hf", *checkpoints["hf"])[1].model
    record = WhisperRecord(sizes, vocab_size=50, num_ctc_units=7)
    model = record.build()
    export_whisper_hf(model, record, tmp_path / "out", Licences(), {})
    assert torch.equal(load_file(tmp_path / "out/ctc_head.safetensors")["weight"], model.ctc_head.weight)
    with pytest.raises(ValueError, match="WeNet's CTC head has the decoder's units"):
        export_whisper_wenet(model, record, tmp_path / "wenet")
    with pytest.raises(ValueError, match=r"'encoder' matches \['encoder.*only '\^ctc_head' can go"):
        leave_out_ctc(model, record, "encoder")
    assert leave_out_ctc(model, record, "^ctc_head") == replace(record, num_ctc_units=0)
    export_whisper_wenet(model, record, tmp_path / "wenet")
    assert same(model, read_whisper("wenet", tmp_path / "wenet/final.pt", tmp_path / "wenet/train.yaml")[0])


def test_features_and_tokenizer_are_beside_it(checkpoints, bpe, tmp_path):
    export_whisper_hf(
        *read_whisper("hf", *checkpoints["hf"]), tmp_path / "out", Licences(), {"AISHELL-1": "Apache-2.0"}, bpe
    )
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "out").feature_size == 128
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == bpe.get_vocab()
    assert "| AISHELL-1 | Apache-2.0 |" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize(("size", "end", "start"), [(51_864, 50_256, 50_257), (51_865, 50_257, 50_258), (300, 0, 0)])
def test_generation_ends_as_with_openais_tokenizers(size, end, start):
    ids = special_ids(size)
    assert (ids["eos_token_id"], ids["decoder_start_token_id"]) == (end, start)
