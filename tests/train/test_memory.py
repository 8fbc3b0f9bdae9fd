"""What training needs of memory: literal counts, a pack that fills its budgets, and a budget that fits."""

import pytest
import torch
from torch import nn

from osum.data.plan.config import PlanConfig
from osum.text.template import IGNORED, SulmTemplate, WhisperTemplate
from osum.train import memory
from osum.train.configs import OptimConfig


def test_what_stands_literal():
    model = nn.ModuleDict({"llm": nn.Linear(10, 3, bias=False), "frozen": nn.Linear(10, 100, bias=False)})
    model["frozen"].requires_grad_(False).bfloat16()
    found = memory.standing(model, OptimConfig())
    assert (found.frozen, found.trained, found.gradients, found.optimizer) == (2000, 120, 120, 240)
    assert found.total == 2480
    assert memory.standing(model, OptimConfig(muon_lr=0.1)).optimizer == 120  # one moment, not two
    assert memory.standing(model, OptimConfig(), num_shards=4).total == 620


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_worst_pack_fills_both_budgets(bpe, share):
    plan = PlanConfig(max_tokens=2000, max_audio_s=75.0)
    batch = memory.worst_batch(SulmTemplate(bpe), "asr", "transcribe", plan, share)
    audio_s = int(batch.audio_lens.sum()) / 16_000
    assert 0.75 * 75 * share <= audio_s <= 75 * share and int(batch.audio_lens.max()) <= 480_000
    assert 0.97 * 2000 * share <= len(batch.input_ids) <= 2000 * share
    assert int((batch.labels != IGNORED).sum()) + int(batch.speech_mask.sum()) > 0.95 * len(batch.input_ids)


def test_the_worst_pack_of_a_decoder_with_a_table_of_positions(bpe):
    plan, template = PlanConfig(max_tokens=2000, max_audio_s=75.0), WhisperTemplate(bpe, {"asr": "<asr>"})
    batch = memory.worst_batch(template, "asr", "", plan, max_positions=448)
    assert int(batch.segment_lens.min()) > 390 and int(batch.segment_lens.max()) <= 400
    assert batch.audio_lens.tolist() == [15 * 16_000] * 5
    assert len(memory.worst_batch(template, "asr", "", plan, share=0.1, max_positions=448).keys) == 1


def test_audio_that_no_budget_of_tokens_holds_is_named(bpe):
    with pytest.raises(ValueError, match=r"60 s of audio take more than 100 positions; raise plan.max_tokens"):
        memory.worst_batch(SulmTemplate(bpe), "asr", "transcribe", PlanConfig(max_tokens=100, max_audio_s=60.0))


def test_what_autograd_keeps_is_counted_once():
    hidden, weight = torch.zeros(5, 4, requires_grad=True), nn.Parameter(torch.zeros(4, 4))
    with memory.counting_activations() as count:
        product = hidden @ weight  # keeps hidden, and the parameter, which is no activation
        (product.relu() + product.exp()).sum()  # keep their results
    assert count == [3 * 5 * 4 * 4]


def test_activations_are_a_line(sulm, bpe):
    plan = PlanConfig(max_tokens=1600, max_audio_s=60.0)

    def losses(batch):
        loss = sulm(batch)
        return loss.weighted_nll + loss.ctc

    def make(share):
        return memory.worst_batch(SulmTemplate(bpe), "asr", "transcribe", plan, share)

    fixed, slope = memory.activations(losses, make, (0.125, 0.25))
    with memory.counting_activations() as count:
        losses(make(1.0))
    assert fixed + slope == pytest.approx(count[0], rel=0.25)


def test_the_largest_share_is_found_by_trying():
    tried = []

    def fits(share):
        tried.append(share)
        return share < 0.7

    assert memory.largest_share(fits, 0.8, resolution=0.9) == pytest.approx(0.648) and len(tried) == 3
    with pytest.raises(MemoryError, match="not even a tenth"):
        memory.largest_share(lambda share: False, 0.8)


def test_out_of_memory_names_the_batch(bpe):
    batch = memory.worst_batch(SulmTemplate(bpe), "asr", "transcribe", PlanConfig(max_tokens=500, max_audio_s=30.0))
    message = (
        r"out of memory in a pack of 4\d\d positions and 30 s of audio, utterances \['worst'\]: 2 GB missing. Lower "
        r"data.plan.max_tokens, say to 3\d\d, and max_audio_s to 22; python -m osum.bin.plan_memory finds the largest"
    )
    with pytest.raises(ValueError, match=message), memory.naming(batch):
        raise torch.OutOfMemoryError("2 GB missing")
