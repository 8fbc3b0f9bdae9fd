"""The training benchmark itself, on a few utterances and a model of some 50,000 parameters; nothing is timed."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from osum.audio.features import LogMel
from osum.train.configs import ComputeConfig


@pytest.fixture(autouse=True)
def _folder_on_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])  # as for a script of this folder


@pytest.fixture
def specs():
    from corpus import draw_corpus

    return draw_corpus(6, vocab_size=300, max_target_tokens=200, seed=3)


def test_dynamic_batches_keep_both_limits_and_lose_nothing():
    from batching import MAX_FRAMES, MAX_TOKENS, dynamic_batches
    from corpus import draw_corpus

    specs = draw_corpus(1200, 300, 200, seed=0)
    batches = dynamic_batches(specs, np.random.default_rng(0))
    assert sorted(s.key for b in batches for s in b) == sorted(s.key for s in specs)
    assert all(max(s.num_samples // 160 for s in b) * len(b) <= MAX_FRAMES for b in batches)
    assert all(max(len(s.target_ids) + 1 for s in b) * len(b) <= MAX_TOKENS for b in batches)
    assert all([s.num_samples for s in b] == sorted(s.num_samples for s in b) for b in batches)


def test_the_corpus_is_as_described_whatever_the_vocabulary():
    from corpus import draw_corpus

    small, large = (draw_corpus(4000, vocab, 200, seed=0) for vocab in (300, 151_936))
    assert [(s.task, s.num_samples, s.num_positions) for s in small] == [
        (s.task, s.num_samples, s.num_positions) for s in large
    ]
    durations = np.array([s.duration_s for s in small])
    assert durations.min() >= 1 and durations.max() <= 15 and np.median(durations) == pytest.approx(4.5, abs=0.2)
    assert np.mean([s.task == "srwt" for s in small]) == pytest.approx(0.15, abs=0.02)
    assert len({s.task for s in small}) == 8 and max(len(s.target_ids) for s in small) <= 200


def test_packs_hold_every_utterance_within_the_budget(specs):
    from batching import fill, packs

    found = packs(specs, 400)
    assert sorted(s.key for p in found for s in p) == sorted(s.key for s in specs)
    assert all(sum(s.num_positions for s in p) <= 400 for p in found)
    assert fill(found, 400) == pytest.approx(sum(s.num_positions for s in specs) / (400 * len(found)))


def test_features_are_equal():
    from baseline import log_mel

    audio = torch.randn(5_000, generator=torch.Generator().manual_seed(0)) * 0.1
    ours, lens = LogMel(80)(audio, torch.tensor([5_000]))
    assert lens.tolist() == [31]
    torch.testing.assert_close(log_mel(audio, 80).T[None], ours, atol=1e-5, rtol=0)


def test_the_baseline_and_each_step_towards_ours_have_one_loss_and_gradient(specs):
    from baseline import Ways, chain
    from sides import Side, tiny

    def check(ways):
        return Side(tiny(300), ways, ComputeConfig(), "cpu", 1).check([specs[:4], specs[4:]])

    assert list(chain()) == ["features", "recomputation", "lm_head", "attention", "products"]
    loss, norm = check(None)
    assert loss > 1 and norm > 0.1
    for ways in (Ways(), *chain().values()):
        assert check(ways) == pytest.approx((loss, norm), abs=1e-4), ways


def test_a_step_trains_encoder_adaptor_and_lora_alone(specs):
    from sides import Side, tiny

    side = Side(tiny(300), None, ComputeConfig(recompute=["encoder"]), "cpu", 1)
    before = {n: p.clone() for n, p in side.model.named_parameters()}
    side.step([specs])
    changed = {n for n, p in side.model.named_parameters() if not torch.equal(p, before[n])}
    assert {n.split(".")[0] for n in changed if "lora" not in n} == {"encoder", "adaptor", "boundaries"}
    assert any("lora_B" in n for n in changed)
    assert side.flop(specs) > 0


def test_ratios_are_medians_over_rounds():
    from bench import interleave, median_ratio

    order = []
    sides = {name: lambda number, name=name: order.append((number, name)) or float(number + 1) for name in "ab"}
    assert interleave(sides, 2) == {"a": [1.0, 2.0], "b": [1.0, 2.0]}
    assert order == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 1.0, 1.0]) == 4.0
