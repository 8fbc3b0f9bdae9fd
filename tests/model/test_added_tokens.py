"""Rows of added tokens: trained where all else of the LLM is frozen, and equal to rows of the whole table."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from osum.model.added_tokens import put_rows_in, start_from_spelling
from osum.model.configs import LlmSizes, LoraConfig
from osum.model.ending import StopRules
from osum.model.folder import load_sulm, save_sulm
from osum.model.generate import generate

NUM_ADDED = 6
TABLES = {"model.embed_tokens.weight", "lm_head.weight"}


@pytest.fixture
def added(bpe):
    """The last tokens of the tokenizer stand for added ones; targets of the examples hold some of them."""
    return list(range(len(bpe) - NUM_ADDED, len(bpe)))


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def record(request, bpe, added, sulm_record, tmp_path):
    """A pretrained LLM with ten spare rows, frozen."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(bpe) + 10, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=request.param, initializer_range=0.2,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "llm")
    cfg = replace(sulm_record.model, llm=LlmSizes(path=str(tmp_path / "llm")), freeze=[r"^llm\."])
    return replace(sulm_record, model=cfg, added_token_ids=added)


def build(record):
    torch.manual_seed(1)
    return record.build().eval()


def without_freezing(record):
    return replace(record, model=replace(record.model, freeze=[]), added_token_ids=[])


def is_tied(record):
    return AutoModelForCausalLM.from_pretrained(record.model.llm.path).config.tie_word_embeddings


def step(model, batch):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    model(batch).weighted_nll.backward()
    optimizer.step()


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2)], ids=["frozen", "lora"])
def test_nothing_of_the_llm_is_trained_but_the_rows(record, collate, lora):
    record = replace(record, model=replace(record.model, lora=lora, freeze=[] if lora else record.model.freeze))
    model = build(record)
    before = {n: p.detach().clone() for n, p in model.llm.named_parameters()}
    step(model, collate([0, 1, 2]))
    changed = {n for n, p in model.llm.named_parameters() if not torch.equal(p, before[n])}
    rows = {"model.embed_tokens.rows"} if is_tied(record) else {"model.embed_tokens.rows", "lm_head.rows"}
    assert {n for n in changed if "lora" not in n} == rows
    assert any("lora" in n for n in changed) == (lora is not None)
    assert model.llm.model.embed_tokens.rows.shape == (NUM_ADDED, 24)


def test_loss_and_gradients_are_those_of_the_whole_table(record, collate, added):
    batch, model, whole = collate([0, 1, 2]), build(record), build(without_freezing(record))
    losses = [m(batch) for m in (model, whole)]
    torch.testing.assert_close(losses[0].nll, losses[1].nll)
    for loss in losses:
        loss.weighted_nll.backward()
    pairs = [(model.llm.model.embed_tokens.rows, whole.llm.model.embed_tokens.weight)]
    pairs.append((model.llm.lm_head.rows, whole.llm.lm_head.weight))
    assert (pairs[0][0] is pairs[1][0]) == is_tied(record)
    for rows, table in pairs:
        assert rows.grad.any()
        torch.testing.assert_close(rows.grad, table.grad[added], atol=1e-5, rtol=1e-4)


def test_bfloat16_tables_are_read_with_float32_rows(record, collate):
    model = build(record)
    model.llm.model.embed_tokens.base.to(torch.bfloat16)
    model.llm.lm_head.base.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(collate([0, 1]))
    loss.weighted_nll.backward()
    assert model.llm.lm_head.rows.grad.dtype == torch.float32 and model.llm.lm_head.rows.grad.isfinite().all()
    torch.testing.assert_close(loss.nll, build(record)(collate([0, 1])).nll, atol=0.5, rtol=0.05)


def test_a_saved_model_writes_the_same_and_keeps_the_rows_alone(record, collate, prefixes, tokenizer_dir, tmp_path):
    model = build(record)
    step(model, collate([0, 1, 2]))
    save_sulm(tmp_path / "sulm", model, record, tokenizer_dir)
    stored = [n for n in load_file(tmp_path / "sulm" / "model.safetensors") if n.startswith("llm.")]
    assert stored and all(n.endswith(".rows") for n in stored)
    loaded, found = load_sulm(tmp_path / "sulm")
    assert found.added_token_ids == record.added_token_ids
    batch, stop = prefixes([0, 1]), StopRules(frozenset({0}))
    assert generate(loaded, batch, [8, 8], stop) == generate(model, batch, [8, 8], stop)


def test_rows_can_be_put_into_the_tables(record, collate):
    model = build(record)
    step(model, collate([0, 1, 2]))
    batch = collate([0, 1, 2])
    before = model(batch).nll
    put_rows_in(model.llm)
    assert {n for n, _ in model.llm.named_parameters(remove_duplicate=False)} >= TABLES
    torch.testing.assert_close(model(batch).nll, before)


def test_spare_rows_are_taken_before_the_tables_grow(record, bpe):
    llm = build(record).llm
    assert llm.model.embed_tokens.base.weight.shape[0] == llm.lm_head.out_features == len(bpe) + 10
    stored = AutoModelForCausalLM.from_pretrained(record.model.llm.path).lm_head.weight
    more = replace(record, vocab_size=len(bpe) + 13, added_token_ids=list(range(len(bpe), len(bpe) + 13)))
    head = build(more).llm.lm_head
    assert head.base.weight.shape == (len(bpe) + 13, 24) and head.rows.shape == (13, 24)
    assert torch.equal(head.base.weight[: len(bpe) + 10], stored)


def test_a_tokenizer_larger_than_the_llm_is_refused(record, bpe):
    with pytest.raises(ValueError, match=rf"llm: {len(bpe) + 10} embeddings, but the tokenizer has {len(bpe) + 11}"):
        build(replace(record, vocab_size=len(bpe) + 11, added_token_ids=[]))


@pytest.mark.parametrize("is_frozen", [True, False])
def test_rows_start_as_the_mean_of_their_spelling(record, added, is_frozen):
    llm = build(record if is_frozen else replace(record, model=replace(record.model, freeze=[]))).llm
    stored = AutoModelForCausalLM.from_pretrained(record.model.llm.path)
    start_from_spelling(llm, added[::-1], [[n, n + 2] for n in range(NUM_ADDED)])
    for table, old in ((llm.model.embed_tokens, stored.model.embed_tokens), (llm.lm_head, stored.lm_head)):
        rows = table.rows if is_frozen else table.weight[added]
        expected = torch.stack([(old.weight[n] + old.weight[n + 2]) / 2 for n in range(NUM_ADDED)])
        torch.testing.assert_close(rows.flip(0), expected)
