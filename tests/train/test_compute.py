from dataclasses import replace

import pytest
import torch
from torch import nn

from osum.model import onednn
from osum.model.build import build_whisper
from osum.model.configs import LoraConfig
from osum.model.onednn import Avx2Linear, OnednnLinear
from osum.train.compute import check_precision, compile_block, prepare
from osum.train.configs import ComputeConfig, TrainConfig

CPU = torch.device("cpu")
PARTS = ("encoder", "adaptor", "llm")


@pytest.fixture
def toy_batch(make_trainer):
    """Eight utterances or so of the toy shards."""
    return next(make_trainer("batch").loader.steps()).batches[0]


def gradients(model, batch):
    """Of one step with dropout, whose draws are seeded."""
    model.train().zero_grad()
    torch.manual_seed(3)
    loss = model(batch)
    (loss.weighted_nll + loss.ctc).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def test_recomputed_layers_give_the_same_gradients(sulm, toy_batch):
    prepare(sulm, "float32", ComputeConfig(), CPU)
    wanted, calls = gradients(sulm, toy_batch), dict.fromkeys(PARTS, 0)
    prepare(sulm, "float32", ComputeConfig(recompute=list(PARTS)), CPU)

    def count(name):
        calls[name] += 1

    first = {part: next(m for m in sulm.blocks()[part][0].modules() if not list(m.children())) for part in PARTS}
    for name, module in first.items():
        module.register_forward_hook(lambda *_, name=name: count(name))
    found = gradients(sulm, toy_batch)
    assert calls == dict.fromkeys(PARTS, 2)
    assert found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in wanted)
    with torch.no_grad():
        sulm.eval()(toy_batch)
    assert calls == dict.fromkeys(PARTS, 3)


def test_a_part_that_the_model_lacks_is_named(sulm):
    with pytest.raises(ValueError, match=r"recompute: the model has no part \['decoder'\]; it has \['adaptor', "):
        prepare(sulm, "float32", ComputeConfig(recompute=["decoder"]), CPU)
    with pytest.raises(ValueError, match=r"compute.compile: the model has no part \['llama'\]"):
        prepare(sulm, "float32", ComputeConfig(compile=["llama"]), CPU)


def test_prompts_are_shared_where_there_are_any(sulm, sulm_record, toy_batch):
    wanted = sulm(toy_batch).nll
    prepare(sulm, "float32", ComputeConfig(share_prompts=True), CPU)
    assert sulm.share_prompts
    torch.testing.assert_close(sulm(toy_batch).nll, wanted, atol=1e-4, rtol=1e-5)
    whisper = build_whisper(sulm_record.encoder, vocab_size=300, num_ctc_units=0)
    with pytest.raises(ValueError, match="share_prompts: this model reads no prompts"):
        prepare(whisper, "float32", ComputeConfig(share_prompts=True), CPU)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, dropout=0.0)], ids=["plain", "lora"])
def test_layers_compile_into_one_graph_each(sulm_record, toy_batch, lora):
    torch.manual_seed(0)
    model = replace(sulm_record, model=replace(sulm_record.model, lora=lora)).build().eval()
    prepare(model, "float32", ComputeConfig(), CPU)
    wanted = gradients(model, toy_batch)
    for part in PARTS:
        # Not a graph break is allowed. The graphs run as they are: generating code for them takes minutes.
        compile_block(model.blocks()[part][0], backend="aot_eager", fullgraph=True)
    found = gradients(model, toy_batch)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_whispers_layers_compile_into_one_graph_each(sulm_record, toy_batch):
    torch.manual_seed(0)
    whisper = build_whisper(sulm_record.encoder, sulm_record.vocab_size, num_ctc_units=0)
    wanted = gradients(whisper, toy_batch)
    for part in ("encoder", "decoder"):
        compile_block(whisper.blocks()[part][0], backend="aot_eager", fullgraph=True)
    found = gradients(whisper, toy_batch)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("is_faster", [True, False])
def test_products_on_the_cpu_are_onednns_where_it_is_faster(sulm, toy_batch, monkeypatch, is_faster):
    monkeypatch.setattr(onednn, "is_faster", lambda: is_faster)
    wanted = gradients(sulm, toy_batch)
    prepare(sulm, "float32", ComputeConfig(), CPU)
    assert {type(m) for m in sulm.modules() if isinstance(m, nn.Linear)} == {OnednnLinear if is_faster else Avx2Linear}
    found = gradients(sulm, toy_batch)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_bfloat16_halves_what_is_frozen(sulm):
    sulm.llm.requires_grad_(False)
    prepare(sulm, "bfloat16", ComputeConfig(), CPU)
    assert sulm.llm.lm_head.weight.dtype == torch.bfloat16 and sulm.adaptor.proj.weight.dtype == torch.float32


def test_precision_is_checked_at_the_start(sulm, make_trainer):
    sulm.adaptor.proj.half()
    with pytest.raises(ValueError, match=r"trained parameter adaptor.proj.weight is torch.float16; load the model in "):
        prepare(sulm, "float32", ComputeConfig(), CPU)
    sulm.requires_grad_(False)
    with pytest.raises(ValueError, match=r"frozen parameter adaptor.proj.weight is torch.float16; load the model in "):
        check_precision(sulm)
    check_precision(sulm.bfloat16())


def test_float16_is_refused():
    with pytest.raises(ValueError, match=r"train.precision is float16, whose range Qwen2's activations exceed; say bf"):
        TrainConfig(precision="float16")
