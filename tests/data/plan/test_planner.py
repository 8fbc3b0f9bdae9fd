from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from osum.data.plan import lengths
from osum.data.plan.config import PlanConfig
from osum.data.plan.planner import Planner, plan_eval
from osum.text.template import SulmTemplate

CFG = PlanConfig(virtual_ranks=4, max_tokens=500, max_audio_s=15.0)


@pytest.fixture
def table(make_index, toy, task_objects, prompts, tokenizer):
    index = make_index(toy(80), num_shards=5)
    return index, lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer))


def plan(index, lens, cfg, seed, epoch):
    return Planner(index, lens, cfg, seed).epoch(epoch)


def items(planned):
    return [i for s in range(planned.num_steps) for v in range(planned.virtual_ranks) for i in planned.pack(s, v)]


def test_every_row_once_within_both_budgets(table):
    planned = plan(*table, CFG, seed=1, epoch=0)
    assert sorted(i.row for i in items(planned)) == list(range(80))
    index, lens = table
    for step in range(planned.num_steps):
        for v in range(4):
            pack = planned.pack(step, v)
            rows = np.array([i.row for i in pack])
            tasks = np.array([lens.tasks.index(i.task) for i in pack])
            assert lens.positions(rows, tasks, np.array([i.prompt for i in pack])).sum() <= 500
            assert index.rows["num_samples"][rows].sum() <= 15 * 16_000


def test_items_are_possible(table, prompts):
    index, _ = table
    for item in items(plan(*table, CFG, seed=3, epoch=2)):
        utterance = index.utterance(item.row)
        assert item.task in utterance.tasks
        assert item.prompt < len(prompts[item.task][utterance.language])


def test_the_plan_depends_on_seed_and_epoch_alone(table):
    first = items(plan(*table, CFG, seed=1, epoch=0))
    assert first == items(plan(*table, CFG, seed=1, epoch=0))
    assert first != items(plan(*table, CFG, seed=1, epoch=1))
    assert first != items(plan(*table, CFG, seed=2, epoch=0))


def test_tasks_and_prompts_depend_on_the_key_not_on_the_shard(make_index, toy, task_objects, prompts, tokenizer):
    drawn = []
    for num_shards in (1, 7):
        index = make_index(toy(80), num_shards=num_shards, name=f"in{num_shards}")
        lens = lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer))
        planned = plan(index, lens, CFG, seed=1, epoch=0)
        drawn.append({(index.key(i.row), i.task, i.prompt) for i in items(planned)})
    assert drawn[0] == drawn[1]


def test_the_number_of_virtual_ranks_changes_no_item(table):
    plans = [plan(*table, replace(CFG, virtual_ranks=g), seed=1, epoch=0) for g in (1, 2, 8)]
    assert len({frozenset(items(p)) for p in plans}) == 1


def test_task_weights_set_the_shares(table):
    even = plan(*table, replace(CFG, task_weights={"asr": 0.0, "ser": 0.0}), seed=1, epoch=0)
    assert {i.task for i in items(even)} == {"sgc"}
    with pytest.raises(ValueError, match=r"task_weights names \['sre'\]"):
        plan(*table, replace(CFG, task_weights={"sre": 1.0}), seed=1, epoch=0)


def test_corpus_weights_are_exact_over_epochs(table):
    visits = np.zeros(80, dtype=int)
    for epoch in range(10):
        planned = plan(*table, replace(CFG, corpus_weights={"toy": 1.3}), seed=1, epoch=epoch)
        found = items(planned)
        assert len({(i.row, i.copy) for i in found}) == len(found)
        np.add.at(visits, [i.row for i in found], 1)
    assert set(visits) == {13}


def test_a_temperature_evens_corpora_out(make_index, toy, task_objects, prompts, tokenizer):
    rare = [replace(u, key=f"rare-{n}", corpus="rare") for n, u in enumerate(toy(4))]
    index = make_index([*toy(64), *rare])
    table = index, lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer))
    shares = {}
    for temperature in (1.0, 2.0):
        visits = Counter()
        for epoch in range(10):
            found = items(plan(*table, replace(CFG, corpus_temperature=temperature), seed=1, epoch=epoch))
            visits.update(index.corpus(i.row) for i in found)
        shares[temperature] = (visits["toy"], visits["rare"])
    assert shares[1.0] == (640, 40)
    # 64 : 4 becomes 8 : 2, of 680 visits in all.
    assert shares[2.0] == pytest.approx((544, 136), abs=4)
    with pytest.raises(ValueError, match=r"corpus_temperature is 0.5; it must be at least 1"):
        PlanConfig(corpus_temperature=0.5)


def test_what_does_not_fit_is_counted(table):
    index, lens = table
    too_long = np.flatnonzero(index.rows["num_samples"] > 2 * 16_000)
    planned = plan(index, lens, replace(CFG, max_audio_s=2.0), seed=1, epoch=0)
    assert planned.dropped["too_long"].tolist() == too_long.tolist()
    assert len(items(planned)) + len(too_long) == 80
    with pytest.raises(ValueError, match="no utterance can be used"):
        plan(index, lens, replace(CFG, max_tokens=5), seed=1, epoch=0)


def test_a_task_that_does_not_fit_leaves_the_others(table):
    index, lens = table
    long_targets = lens.target_lens.copy()
    long_targets[:, lens.tasks.index("sgc")] = 10_000
    planned = plan(index, replace(lens, target_lens=long_targets), CFG, seed=1, epoch=0)
    assert planned.unfit_pairs == {"sgc": 80} and {i.task for i in items(planned)} == {"asr", "ser"}
    assert len(items(planned)) == 80


def test_evaluation_takes_every_pair_once_longest_first(table):
    index, lens = table
    planned = plan_eval(index, lens, replace(CFG, virtual_ranks=1), rows=range(0, 80, 2))
    found = items(planned)
    assert len(found) == len({(i.row, i.task) for i in found}) == (lens.target_lens[::2] >= 0).sum()
    assert all(i.prompt == 0 and i.row % 2 == 0 for i in found)
    assert found[0].row == max(range(0, 80, 2), key=lambda r: index.rows["num_samples"][r])


@pytest.mark.parametrize("field", ["virtual_ranks", "max_tokens", "max_audio_s", "shuffle_block_shards"])
def test_sizes_must_be_positive(field):
    with pytest.raises(ValueError, match=f"plan.{field} is 0"):
        PlanConfig(**{field: 0})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize(
    "field", ["virtual_ranks", "max_audio_s", "cost_per_s", "cost_per_s2", "task_weights", "corpus_weights"]
)
def test_what_is_no_number_of_its_range_is_named(field, value):
    is_weight = field.endswith("weights")
    with pytest.raises(ValueError, match=rf"plan.{field}{'.a' if is_weight else ''} is {value}; it must be"):
        PlanConfig(**{field: {"a": value} if is_weight else value})


@pytest.mark.parametrize(("field", "names"), [("task_weights", ("asr", "ser", "sgc")), ("corpus_weights", ("toy",))])
def test_weights_must_not_all_be_zero(table, field, names):
    with pytest.raises(ValueError, match=rf"plan.{field} are 0 for all of \['{names[0]}'.*give at least one"):
        Planner(*table, replace(CFG, **{field: dict.fromkeys(names, 0.0)}), seed=1)


def test_weights_that_can_not_be_followed_are_told(table, caplog):
    Planner(*table, replace(CFG, task_weights={"asr": 1.0, "ser": 8.0, "sgc": 1.0}), seed=1)
    # Half of the rows can serve ser.
    assert "plan task_weights residual=0.300 asr.wanted=0.100 asr.reached=0.250 ser.wanted=0.800 ser.reached=0.500" in (
        caplog.text
    )
    caplog.clear()
    Planner(*table, CFG, seed=1)
    assert "residual" not in caplog.text


def test_what_whispers_positions_can_not_hold_is_left_out(make_index, toy, task_objects, prompts, tokenizer):
    index = make_index([replace(u, num_samples=n) for u, n in zip(toy(2), (480_000, 480_001), strict=True)])
    lens = lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer))
    planned = plan(index, lens, PlanConfig(max_audio_s=60.0, max_tokens=4000), seed=1, epoch=0)
    assert [index.key(int(r)) for r in planned.dropped["too_long"]] == ["corpus/u001"]
    assert [index.key(i.row) for i in items(planned)] == ["corpus/u000"]
