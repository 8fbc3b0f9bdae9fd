"""Speed in the plan of a small corpus with word times; that of a large one is in test_plan_in_cells.py."""

from dataclasses import replace

import numpy as np
import pytest

from osum import tasks
from osum.audio.speed import sped_length
from osum.data.examples import make_example
from osum.data.plan import lengths
from osum.data.plan.config import PlanConfig
from osum.data.plan.planner import Planner, plan_eval
from osum.text.template import SulmTemplate

SPEEDS = [0.9, 1.0, 1.1]
CFG = PlanConfig(virtual_ranks=4, max_tokens=500, max_audio_s=15.0, speeds=SPEEDS)
NAMES = ("asr", "srwt", "ved", "ser", "ssr", "sgc", "sap", "sap+sgc", "only:ser", "only:ved")
PROMPTS = {name: {"en": ("go", "please go")} for name in NAMES}
LABELS = {"emotion": "happy", "gender": "male", "age": "old", "style": "客服", "event": "laugh"}


@pytest.fixture
def corpus(make_index, toy, tokenizer):
    """Index and lengths of 150 rows with all labels, and times around 9 s so that they gain and lose digits."""
    of = [
        replace(u, words=(("a", 0.1, 0.9), ("a", 8.9 + i / 100, 9.9)), labels=LABELS, tasks=NAMES[:7])
        for i, u in enumerate(toy(150))
    ]
    index = make_index(of, num_shards=5)
    served = {name: tasks.get(name) for name in NAMES}
    return index, lengths.build(index, served, PROMPTS, SulmTemplate(tokenizer), speeds=SPEEDS)


def items(index, table, cfg, epochs=1):
    planned = [Planner(index, table, cfg, seed=1).epoch(e) for e in range(epochs)]
    return [i for p in planned for s in range(p.num_steps) for v in range(p.num_packs(s)) for i in p.pack(s, v)]


def test_only_tasks_whose_label_speed_leaves_change_speed(corpus):
    found = items(*corpus, CFG, epochs=8)
    assert len(found) == 8 * 150
    changed = {task: {i.speed for i in found if i.task == task} for task in NAMES}
    assert [task for task in NAMES if changed[task] == {0.9, 1.0, 1.1}] == ["asr", "srwt", "ved", "only:ved"]
    assert all(changed[task] == {1.0} for task in ("ser", "ssr", "sgc", "sap", "sap+sgc", "only:ser"))


def test_speeds_are_drawn_alike(corpus):
    found = items(*corpus, replace(CFG, task_weights={n: float(n in ("asr", "srwt")) for n in NAMES}), epochs=8)
    shares = np.unique([i.speed for i in found], return_counts=True)[1] / len(found)
    np.testing.assert_allclose(shares, [1 / 3] * 3, atol=0.05)


def test_the_table_knows_the_tokens_of_word_times_at_each_speed(corpus, tokenizer):
    index, table = corpus
    template, served = SulmTemplate(tokenizer), {name: tasks.get(name) for name in NAMES}
    before = table.target_lens[:, NAMES.index("srwt")]
    gained = {s: (table.at_speed(s).target_lens[:, NAMES.index("srwt")] - before) for s in SPEEDS}
    assert set(gained[0.9]) == {1, 2} and set(gained[1.0]) == {0} and set(gained[1.1]) == {0, -1}
    for item in items(index, table, CFG, epochs=4):
        example = make_example(index, item, served, PROMPTS)
        task, row = np.array([NAMES.index(item.task)]), np.array([item.row])
        planned = table.at_speed(item.speed).positions(row, task, np.array([item.prompt]))
        assert planned.tolist() == [len(template.encode(example).input_ids)]
        assert len(example.audio) == sped_length(int(index.rows["num_samples"][item.row]), item.speed)


def test_what_no_longer_fits_keeps_its_speed(corpus):
    index, table = corpus
    table = replace(table, any_speed=frozenset(NAMES))
    found = items(index, table, replace(CFG, max_audio_s=2.9, speeds=[0.9]), epochs=2)
    assert {i.row for i in found} == set(np.flatnonzero(index.rows["num_samples"] <= 2.9 * 16_000))
    for item in found:
        assert (item.speed == 0.9) == (sped_length(int(index.rows["num_samples"][item.row]), 0.9) <= 2.9 * 16_000)


def test_the_expectations_of_the_survey_hold(corpus):
    index, table = corpus
    cfg = replace(CFG, speeds=[0.8, 0.9])
    table = replace(table, speeds=(0.8, 0.9), sped_columns={})
    planner = Planner(index, table, cfg, seed=1)
    totals = np.zeros((2, 60))
    for epoch in range(60):
        (packs,) = planner.epoch(epoch).packs()
        for percent in (80, 90, 100):
            at = table if percent == 100 else table.at_speed(percent / 100)
            here = packs.speeds == percent
            totals[0, epoch] += at.positions(packs.rows[here], packs.tasks[here], packs.prompts[here]).sum()
            totals[1, epoch] += at.rows["num_samples"][packs.rows[here]].sum()
    deviations = np.sqrt(planner.survey.variances)
    assert (np.abs(totals.mean(axis=1) - planner.survey.sums[:2].sum(axis=(1, 2))) < 4 * deviations / np.sqrt(60)).all()
    np.testing.assert_allclose(totals.std(axis=1), deviations, rtol=0.35)
    assert planner.survey.sums[1].sum() > 1.03 * index.rows["num_samples"].sum()


def test_speed_1_alone_is_the_plan_without_speeds(corpus):
    plain = items(*corpus, replace(CFG, speeds=[]))
    assert plain == items(*corpus, replace(CFG, speeds=[1.0])) and {i.speed for i in plain} == {1.0}
    assert plain != items(*corpus, CFG)


def test_evaluation_changes_no_speed(corpus):
    planned = plan_eval(*corpus, CFG)
    assert {i.speed for s in range(planned.num_steps) for v in range(4) for i in planned.pack(s, v)} == {1.0}


@pytest.mark.parametrize("speed", [0.0, 0.4, 2.5, 0.955])
def test_speeds_out_of_range_are_refused(speed):
    with pytest.raises(ValueError, match=f"plan.speeds has {speed}"):
        PlanConfig(speeds=[1.0, speed])
