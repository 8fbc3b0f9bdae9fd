"""The plan of a corpus of many shards, planned cell by cell: what a small corpus can't show."""

from dataclasses import replace

import numpy as np
import pytest

from osum.audio.frames import num_speech_embeddings
from osum.data.load.loader import virtual_ranks
from osum.data.plan.config import PlanConfig
from osum.data.plan.lengths import Lengths
from osum.data.plan.packs import joined
from osum.data.plan.planner import Planner
from osum.data.store.index import ROW, Header, Index

NUM_SHARDS, ROWS_PER_SHARD = 120, 150
CFG = PlanConfig(virtual_ranks=32, max_tokens=700, max_audio_s=60.0, shuffle_block_shards=8)


def simulate(num_shards=NUM_SHARDS, rows_per_shard=ROWS_PER_SHARD, seed=0):
    """Index and lengths of two corpora and two tasks; every tenth row of the second corpus serves one of them only."""
    rng = np.random.default_rng(seed)
    count = num_shards * rows_per_shard
    rows = np.zeros(count, dtype=ROW)
    rows["key_hash"] = rng.integers(0, 2**63, count)
    rows["shard"] = np.arange(count) // rows_per_shard
    rows["corpus"] = rows["shard"] % 3 == 0
    duration_s = rng.gamma(4.0, np.where(rows["corpus"], 1.2, 0.7)).clip(0.1, 20)
    rows["num_samples"] = duration_s * 16_000
    header = Header([f"{n}.tar" for n in range(num_shards)], ["asr", "ser"], ["a", "b"], ["en"], "made up")
    targets = np.stack([(duration_s * 4 + rng.integers(1, 5, count)), rng.integers(2, 40, count)], 1).astype(np.int32)
    targets[rows["corpus"] & (np.arange(count) % 10 == 0), 1] = -1
    prefixes = np.array([[[7, 12]], [[9, 0]]], dtype=np.int32)
    num_prompts = np.array([[2], [1]], dtype=np.int32)
    lengths = Lengths(
        ("asr", "ser"), targets, prefixes, num_prompts, rows, num_speech_embeddings,
        speeds=(0.9, 1.0, 1.1), any_speed=frozenset({"asr"}),
    )  # fmt: skip
    index = Index("nowhere", header, rows, np.zeros(0, np.uint8), np.zeros(count, np.uint64))
    return index, lengths


@pytest.fixture(scope="module")
def corpus():
    return simulate()


@pytest.mark.parametrize("case", range(25))
def test_whatever_the_sizes_nothing_is_lost_or_repeated_and_budgets_hold(case):
    rng = np.random.default_rng(case)
    shards, rows_per_shard = int(rng.integers(1, 60)), int(rng.integers(1, 60))
    cfg = PlanConfig(
        virtual_ranks=int(rng.integers(1, 40)),
        max_tokens=int(rng.integers(150, 1500)),
        max_audio_s=float(rng.uniform(3, 60)),
        corpus_weights={"a": float(rng.choice([0.0, 0.7, 1.0, 3.0]))} if shards > 2 else {},
        task_weights={"ser": float(rng.choice([0.0, 1.0, 9.0]))},
        shuffle_block_shards=int(rng.integers(1, 12)),
        speeds=[0.9, 1.0, 1.1] if case % 2 else [],
    )
    corpus = simulate(shards, rows_per_shard, seed=case)
    epoch = Planner(*corpus, cfg, seed=case).epoch(case % 3)
    found = pairs(i for step in range(epoch.num_steps) for i in step_items(epoch, step))
    assert len(found) == len(set(found)) == epoch.num_items
    taken = sizes(corpus, joined(list(epoch.packs())))
    assert taken[:, 0].max() <= cfg.max_tokens and taken[:, 1].max() <= cfg.max_audio_s * 16_000


@pytest.fixture(scope="module")
def planner(corpus):
    return Planner(*corpus, CFG, seed=1)


def pairs(items):
    return [(i.row, i.copy) for i in items]


def step_items(epoch, step):
    return [i for number in range(epoch.num_packs(step)) for i in epoch.pack(step, number)]


def sizes(corpus, packs):
    """(m, 2) decoder positions and samples of packs."""
    _, lengths = corpus
    taken = np.zeros((len(packs.rows), 2), dtype=np.int64)
    for percent in np.unique(packs.speeds):
        at, here = lengths.at_speed(percent / 100), packs.speeds == percent
        rows = packs.rows[here]
        taken[here, 0] = at.positions(rows, packs.tasks[here], packs.prompts[here])
        taken[here, 1] = at.rows["num_samples"][rows]
    return np.diff(np.concatenate([[[0, 0]], np.cumsum(taken, axis=0)])[np.append(0, packs.ends)], axis=0)


def test_the_epoch_is_cut_into_cells(planner):
    assert (planner.shape.num_windows, planner.shape.num_lanes) == (7, 2)


@pytest.mark.parametrize("weights", [{}, {"a": 2.0, "b": 0.3}, {"a": 1.5, "b": 0.0}])
def test_every_row_and_copy_once(corpus, weights):
    index, lengths = corpus
    epoch = Planner(index, lengths, replace(CFG, corpus_weights=weights), seed=1).epoch(3)
    found = pairs(i for step in range(epoch.num_steps) for i in step_items(epoch, step))
    assert len(found) == len(set(found)) == epoch.num_items
    corpora = index.rows["corpus"][[row for row, _ in found]]
    usable = np.bincount(np.delete(index.rows["corpus"], epoch.dropped["too_short"]), minlength=2)
    for number, name in enumerate("ab"):
        weight = weights.get(name, 1.0)
        assert (corpora == number).sum() == pytest.approx(usable[number] * weight, rel=0.02)
        assert {copy for (_, copy), c in zip(found, corpora, strict=True) if c == number} <= set(range(2))


def test_visits_are_exact_over_epochs(corpus):
    index, lengths = corpus
    planner = Planner(index, lengths, replace(CFG, corpus_weights={"a": 0.5, "b": 1.25}), seed=1)
    visits = np.zeros(len(index), dtype=int)
    for number in range(4):
        for packs in planner.epoch(number).packs():
            np.add.at(visits, packs.rows, 1)
    kept = np.delete(np.arange(len(index)), planner.survey.dropped["too_short"])
    assert visits[kept].tolist() == np.where(index.rows["corpus"][kept] == 1, 5, 2).tolist()


def test_packs_keep_both_budgets_and_are_full(corpus, planner):
    taken = sizes(corpus, joined(list(planner.epoch(0).packs())))
    assert taken[:, 0].max() <= 700 and taken[:, 1].max() <= 60 * 16_000
    assert taken[:, 0].sum() / (planner.shape.num_steps * 32 * 700) > 0.965


def test_packs_of_a_step_are_alike(corpus):
    index, lengths = corpus
    planner = Planner(index, lengths, replace(CFG, max_tokens=4000, max_audio_s=400.0), seed=1)
    epoch = planner.epoch(0)
    for step in (0, epoch.num_steps // 2, epoch.num_steps - 1):
        packs = [epoch.pack(step, v) for v in range(32)]
        audio_s = np.array([index.rows["num_samples"][[i.row for i in p]].sum() / 16_000 for p in packs])
        assert audio_s.max() / audio_s.mean() < 1.04


def test_a_change_of_the_number_of_ranks_inside_an_epoch_repeats_and_loses_nothing(planner):
    epoch = planner.epoch(0)
    cuts = [0, 11, 40, epoch.num_steps - 3, epoch.num_steps]
    found = []
    for world_size, start, stop in zip((4, 3, 7, 1), cuts, cuts[1:], strict=False):
        for step in range(start, stop):
            for rank in range(world_size):
                for number in virtual_ranks(epoch.num_packs(step), rank, world_size):
                    found += pairs(epoch.pack(step, number) if number is not None else [])
    assert len(found) == len(set(found)) == epoch.num_items


def test_a_step_is_the_same_wherever_one_starts(corpus, planner):
    whole = planner.epoch(2)
    for step in (0, 17, whole.num_steps - 1):
        assert step_items(Planner(*corpus, CFG, seed=1).epoch(2), step) == step_items(whole, step)
    assert step_items(planner.epoch(1), 17) != step_items(whole, 17)
    assert step_items(Planner(*corpus, CFG, seed=2).epoch(2), 17) != step_items(whole, 17)


def test_a_virtual_rank_reads_the_shards_of_its_lane(corpus, planner):
    index, epoch = corpus[0], planner.epoch(0)
    readers = np.zeros((NUM_SHARDS, 32), dtype=int)
    for window in range(planner.shape.num_windows):
        steps = range(planner.shape.first_step(window), planner.shape.first_step(window + 1))
        for v in range(32):
            opened = np.unique(index.rows["shard"][[i.row for step in steps for i in epoch.pack(step, v)]])
            readers[opened, v] += 1
            assert len(opened) <= 8 + 3, "the shards of a cell, and those that lie across its ends"
    assert ((readers > 0).sum(axis=1) <= 32).all() and np.median((readers > 0).sum(axis=1)) == 16


def test_what_does_not_fit_comes_in_extra_packs_of_the_last_step_of_its_window(corpus):
    index, lengths = corpus
    planner = Planner(index, lengths, CFG, seed=1)
    planner.shape = replace(planner.shape, num_steps=planner.shape.num_steps * 9 // 10)
    epoch = planner.epoch(0)
    last = {planner.shape.first_step(w + 1) - 1 for w in range(planner.shape.num_windows)}
    assert {step for step in range(epoch.num_steps) if epoch.num_packs(step) > 32} == last
    assert all(epoch.num_packs(step) % 32 == 0 for step in last)
    found = pairs(i for step in range(epoch.num_steps) for i in step_items(epoch, step))
    assert len(found) == len(set(found)) == epoch.num_items
    assert sizes(corpus, joined(list(epoch.packs())))[:, 0].max() <= 700


def test_large_utterances_are_given_more_packs(corpus):
    index, lengths = corpus
    rows = index.rows.copy()
    rows["num_samples"] = 16_000 * 25
    planner = Planner(index, replace(lengths, rows=rows), replace(CFG, max_audio_s=40.0, max_tokens=4000), seed=1)
    assert planner.survey.efficiency == pytest.approx(25 / 40, abs=0.001)
    epoch = planner.epoch(0)
    assert all(epoch.num_packs(step) == 32 for step in range(epoch.num_steps))


def test_speeds_leave_packs_as_full_and_batches_as_they_are(corpus):
    planner = Planner(*corpus, replace(CFG, speeds=[0.9, 1.0, 1.1]), seed=1)
    epoch = planner.epoch(0)
    packs = joined(list(epoch.packs()))
    taken = sizes(corpus, packs)
    assert taken[:, 0].max() <= 700 and taken[:, 0].sum() / (planner.shape.num_steps * 32 * 700) > 0.965
    assert set(packs.speeds[packs.tasks == 1]) == {100}
    shares = np.unique(packs.speeds[packs.tasks == 0], return_counts=True)[1] / (packs.tasks == 0).sum()
    np.testing.assert_allclose(shares, [1 / 3] * 3, atol=0.02)
    found = pairs(i for step in range(epoch.num_steps) for i in step_items(epoch, step))
    assert len(found) == len(set(found)) == epoch.num_items == len(packs.rows)
    again = Planner(*corpus, replace(CFG, speeds=[0.9, 1.0, 1.1]), seed=1).epoch(0)
    assert step_items(again, 17) == step_items(epoch, 17)
