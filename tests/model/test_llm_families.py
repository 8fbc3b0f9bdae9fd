"""Language models in folders: Qwen2, Qwen2.5 (a tied Qwen2) and Qwen3 train and do not mix the segments of a pack."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from osum.model.build import build_encoder, build_speech_llm
from osum.model.configs import LlmSizes, LoraConfig, SpeechLlmConfig
from osum.model.packing import Packing

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.2,
}
CONFIGS = {
    "qwen2": lambda size: Qwen2Config(vocab_size=size, tie_word_embeddings=False, **SIZES),
    "qwen2.5": lambda size: Qwen2Config(vocab_size=size, tie_word_embeddings=True, **SIZES),
    "qwen3": lambda size: Qwen3Config(vocab_size=size, tie_word_embeddings=True, head_dim=16, **SIZES),
}


@pytest.fixture(params=CONFIGS)
def model(request, bpe, sulm_record, tmp_path):
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(CONFIGS[request.param](len(bpe) + 12)).save_pretrained(tmp_path)
    cfg = SpeechLlmConfig(sulm_record.model.adaptor, LlmSizes(path=str(tmp_path)), LoraConfig(rank=2))
    return build_speech_llm(cfg, build_encoder(sulm_record.encoder), len(bpe), 0, num_ctc_units=0).eval()


def test_a_step_lowers_the_loss(model, collate):
    batch = collate([0, 1, 2])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    before = model(batch).weighted_nll
    before.backward()
    optimizer.step()
    assert model(batch).weighted_nll < before


@torch.no_grad()
def test_an_utterance_has_the_same_loss_in_a_pack_as_alone(model, collate):
    apart = torch.cat([model(collate([n])).nll for n in (0, 1, 2)])
    torch.testing.assert_close(model(collate([0, 1, 2])).nll, apart, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_the_llm_reads_a_sequence_as_transformers_does(model):
    ids = torch.randint(0, 100, (9,), generator=torch.Generator().manual_seed(0))
    ours = model.read(model.llm.get_input_embeddings()(ids), Packing(torch.tensor([9])))
    theirs = model.llm.model(input_ids=ids[None], use_cache=False).last_hidden_state[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
