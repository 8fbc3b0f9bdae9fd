"""FLOP of a training step: literal counts, and the products that a real model makes."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from osum.data.load.collate import collate
from osum.model.build import build_whisper
from osum.model.configs import WhisperSizes
from osum.text.template import IGNORED, SulmTemplate, WhisperTemplate
from osum.train.flop import TrainingFlop, flop_per_position, num_positions, peak_flop_per_s, peak_tflops, seen_by
from osum.types import Batch, Example


def part(**layers):
    return nn.ModuleDict(layers)


@pytest.fixture
def toy():
    """Encoder of 6 weights, adaptor of 4, LLM of 3 with LoRA of 1 + 3, head of 30 shared with the embeddings."""
    lora = part(base_layer=nn.Linear(3, 1, bias=False), lora_A=nn.Linear(3, 1, bias=False))
    llm = part(model=part(embed_tokens=nn.Embedding(10, 3), q_proj=lora), lm_head=nn.Linear(3, 10, bias=False))
    llm["lm_head"].weight = llm["model"]["embed_tokens"].weight
    llm.requires_grad_(False)
    lora["lora_A"].requires_grad_(True)
    adaptor = part(proj=nn.Linear(4, 1), convs=nn.ModuleList([nn.Conv1d(1, 2, 3), nn.Conv1d(2, 1, 3)]))
    return part(encoder=nn.Linear(3, 2), adaptor=adaptor, llm=llm, boundaries=nn.Embedding(2, 3))


@pytest.fixture
def batch():
    """Two utterances: 7 + 5 mel frames, so 4 + 3 at 50, 2 + 2 at 25, 1 + 1 at 12.5 Hz; 9 tokens, 2 of them targets."""
    labels = torch.tensor([IGNORED] * 7 + [1, 2])
    return Batch(
        ["a", "b"], ["asr"] * 2, torch.zeros(0), torch.tensor([7 * 160, 5 * 160]), torch.zeros(9), labels,
        torch.zeros(9), torch.tensor([5, 4]),
    )  # fmt: skip


def test_what_a_batch_holds_literal(batch):
    assert num_positions(batch) == {"mel": 12, "encoder": 7, "strided": 4, "speech": 2, "decoder": 9, "target": 2}


def test_a_weight_costs_six_if_trained_four_if_gradients_pass_it_and_else_two(toy, batch):
    trained = {"encoder": 6 * 6 + 6 * 6, "strided": 6 * 6, "speech": 6 * 4, "decoder": 4 * 3 + 6 * 3, "target": 4 * 30}
    assert flop_per_position(toy) == trained
    flop = TrainingFlop(toy)
    assert flop.of(batch) == 7 * 72 + 4 * 36 + 2 * 24 + 9 * 30 + 2 * 120
    toy["encoder"].requires_grad_(False)
    toy["adaptor"].requires_grad_(False)
    assert flop.of(batch) == 7 * 72 + 4 * 36 + 2 * 24 + 9 * 30 + 2 * 120
    flop.renew()  # what comes before all that is trained goes forward only
    assert flop.per_position == {
        "encoder": 2 * 6 + 2 * 6,
        "strided": 2 * 6,
        "speech": 2 * 4,
        "decoder": 30,
        "target": 120,
    }


def test_an_encoder_is_passed_by_no_gradient_but_its_own(toy):
    toy["encoder"].requires_grad_(False)
    assert flop_per_position(toy)["encoder"] == 2 * 6 + 6 * 6  # and the adaptor's first convolution
    toy["encoder"].bias.requires_grad_(True)
    assert flop_per_position(toy)["encoder"] == 4 * 6 + 6 * 6


def test_a_matrix_of_an_unknown_part_is_no_silent_gap():
    with pytest.raises(AssertionError, match=r"nobody said what vocoder\.weight is applied to"):
        flop_per_position(part(vocoder=nn.Linear(2, 2)))


@pytest.fixture
def example():
    audio = torch.randn(16_000, generator=torch.Generator().manual_seed(0)).numpy()
    return Example("a", "asr", "en", "write down", "hello there", audio)


def test_the_products_of_a_sulm_are_those_that_were_counted(sulm, bpe, example):
    batch = collate([example], SulmTemplate(bpe))
    assert_counted(sulm, batch, "encoder.whisper.layers.0", "adaptor.layers.1", "llm.model")


def test_the_products_of_a_whisper_are_those_that_were_counted(bpe, example):
    sizes = WhisperSizes(d_model=16, encoder_layers=1, decoder_layers=2, num_heads=2, ffn_dim=32)
    batch = collate([example], WhisperTemplate(bpe, {"asr": "<asr>"}))
    assert_counted(
        build_whisper(sizes, len(bpe), num_ctc_units=0), batch, "encoder.whisper.layers.0", "decoder.layers.1"
    )


def assert_counted(model, batch, *parts):
    """Compare with the matrix products that torch sees in a forward pass."""
    model.eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        model(batch)
    by_part = counter.get_flop_counts()
    counts = num_positions(batch)
    for part in parts:
        matrices = [(n, p) for n, p in model.named_parameters() if n.startswith(part) and p.ndim > 1 and seen_by(n)]
        products = by_part[f"{type(model).__name__}.{part}"]
        found = sum(flop for op, flop in products.items() if str(op) in ("aten.mm", "aten.addmm"))
        assert found == sum(2 * p.numel() * counts[seen_by(n)] for n, p in matrices) > 0, part


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA H200", 989), ("NVIDIA L40S", 362),
        ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA GeForce RTX 4090", 165), ("Tesla V100-SXM2-32GB", 125),
        ("NVIDIA L4", 121), ("NVIDIA A10", math.nan), ("NVIDIA GeForce RTX 4090 Laptop GPU", math.nan),
    ],
)  # fmt: skip
def test_the_peak_of_a_gpu_goes_by_its_name(name, tflops):
    assert peak_tflops(name) == pytest.approx(tflops, nan_ok=True)


def test_a_cpu_has_no_known_peak_unless_it_is_given():
    assert math.isnan(peak_flop_per_s(torch.device("cpu")))
    assert peak_flop_per_s(torch.device("cpu"), 1.5) == 1.5e12
