import time
from dataclasses import replace

import numpy as np
import pytest

from osum.data.plan import groups as groups_module
from osum.data.plan import lengths as lengths_module
from osum.data.plan import survey as survey_module
from osum.data.plan.config import PlanConfig
from osum.data.plan.planner import Planner
from osum.data.plan.survey import make, survey
from osum.data.processes import map_fresh
from osum.text.template import SulmTemplate

CFG = PlanConfig(virtual_ranks=4, max_tokens=500, max_audio_s=15.0, task_weights={"ser": 2.0})


@pytest.fixture
def corpus(make_index, toy, task_objects, prompts, tokenizer, tmp_path):
    index = make_index(toy(80), num_shards=5)
    return index, lengths_module.build(index, task_objects, prompts, SulmTemplate(tokenizer), tmp_path / "cache")


@pytest.fixture
def small_runs(monkeypatch):
    monkeypatch.setattr(groups_module, "MIN_RUN_ROWS", 1)


def drawn_tokens(corpus, cfg, epoch):
    index, lengths = corpus
    (packs,) = Planner(index, lengths, cfg, seed=1).epoch(epoch).packs()
    return lengths.positions(packs.rows, packs.tasks, packs.prompts).sum()


def test_runs_are_shards_or_some_of_them_if_they_are_small(corpus, small_runs):
    assert make(*corpus, CFG).starts.tolist() == [0, 16, 32, 48, 64, 80]
    groups_module.MIN_RUN_ROWS = 32
    assert make(*corpus, CFG).starts.tolist() == [0, 32, 64, 80]


def test_audio_is_summed_by_run(corpus, small_runs):
    index, _ = corpus
    found = make(*corpus, CFG)
    expected = index.rows["num_samples"].reshape(5, 16).sum(axis=1)
    assert found.sums[1][:, 0].tolist() == expected.tolist() and found.num_items == 80
    cost = expected / 16_000 * 20 + (index.rows["num_samples"] / 16_000.0).reshape(5, 16).__pow__(2).sum(axis=1) * 0.166
    np.testing.assert_allclose(found.sums[2][:, 0] / 16, found.sums[0][:, 0] + cost)


def test_what_is_drawn_varies_around_the_expectation_as_foretold(corpus):
    found = make(*corpus, CFG)
    totals = np.array([drawn_tokens(corpus, CFG, epoch) for epoch in range(60)])
    deviation = np.sqrt(found.variances[0])
    assert abs(totals.mean() - found.sums[0].sum()) < 4 * deviation / np.sqrt(60)
    assert totals.std() == pytest.approx(deviation, rel=0.35)


def test_weights_make_visits(corpus):
    found = make(*corpus, replace(CFG, corpus_weights={"toy": 2.25}))
    once = make(*corpus, CFG)
    assert found.num_items == 180
    np.testing.assert_allclose(found.sums / once.sums, np.broadcast_to([1, 1, 0.25], found.sums.shape))
    assert found.variances[1] == pytest.approx(0.25 * 0.75 * (corpus[0].rows["num_samples"].astype(float) ** 2).sum())


def test_chunks_change_nothing(corpus, monkeypatch):
    whole = make(*corpus, replace(CFG, max_audio_s=2.0))
    monkeypatch.setattr(lengths_module, "CHUNK_ROWS", 7)
    chunked = make(*corpus, replace(CFG, max_audio_s=2.0))
    np.testing.assert_allclose(chunked.sums, whole.sums)
    assert chunked.starts.tolist() == whole.starts.tolist() and chunked.unfit.tolist() == whole.unfit.tolist()
    assert chunked.dropped["too_long"].tolist() == whole.dropped["too_long"].tolist() != []


def test_processes_change_nothing(corpus, monkeypatch, small_runs):
    """Jobs of 13 rows, cut where no shard begins, so that a run goes on in the next."""
    cfg = replace(CFG, max_audio_s=2.0, corpus_weights={"toy": 1.5})
    whole = make(*corpus, cfg)
    monkeypatch.setattr(groups_module, "PROCESS_ROWS", 13)
    alone, two = make(*corpus, cfg, num_procs=1), make(*corpus, cfg, num_procs=2)
    for name in ("starts", "corpora", "sums", "variances", "num_items", "efficiency", "shares", "unfit"):
        np.testing.assert_array_equal(getattr(two, name), getattr(alone, name))
        np.testing.assert_allclose(getattr(two, name), getattr(whole, name), rtol=1e-12)
    assert two.dropped["too_long"].tolist() == whole.dropped["too_long"].tolist() != []


def test_some_runs_tell_how_much_all_vary(corpus, monkeypatch, small_runs):
    cfg = replace(CFG, corpus_weights={"toy": 2.25})
    all_of_them = make(*corpus, cfg).variances
    monkeypatch.setattr(survey_module, "VARIED_RUNS", 3)
    monkeypatch.setattr(survey_module, "VARIED_ROWS", 12)
    np.testing.assert_allclose(make(*corpus, cfg).variances, all_of_them, rtol=0.25)


def test_one_of_several_ranks_makes_it(corpus, tmp_path, monkeypatch):
    def slowly(*args, **more):
        with open(tmp_path / "made", "a") as f:
            f.write("once\n")
        time.sleep(0.5)
        return make(*args, **more)

    monkeypatch.setattr(survey_module, "make", slowly)
    assert len(set(map_fresh(lambda _: survey(*corpus, CFG).sums.sum(), range(4), 4))) == 1
    assert (tmp_path / "made").read_text() == "once\n"
    assert len(list((tmp_path / "cache").glob("*survey*"))) == 1


def test_a_survey_that_can_not_be_kept_serves_once(corpus, tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(survey_module, "atomic_write", full)
    assert survey(*corpus, CFG).num_items == 80
    assert "not written (no space left)" in caplog.text and not list((tmp_path / "cache").glob("survey.*"))


def test_the_survey_is_kept_beside_the_lengths(corpus, tmp_path):
    first = survey(*corpus, CFG)
    (kept,) = (tmp_path / "cache").glob("survey.*.npz")
    second = survey(*corpus, CFG)
    assert second.starts.tolist() == first.starts.tolist() and second.efficiency == first.efficiency
    for name in ("sums", "variances", "unfit", "corpora"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    np.testing.assert_array_equal(second.mix.probabilities, first.mix.probabilities)
    survey(*corpus, replace(CFG, virtual_ranks=8))
    assert list((tmp_path / "cache").glob("survey.*")) == [kept]
    survey(*corpus, replace(CFG, max_tokens=400))
    assert len(list((tmp_path / "cache").glob("survey.*"))) == 2
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{kept.name}: not a whole survey"):
        survey(*corpus, CFG)


def test_utterances_that_are_large_for_a_pack_leave_room_in_it(corpus):
    index, lengths = corpus
    rows = index.rows.copy()
    rows["num_samples"] = 10 * 16_000
    assert make(index, replace(lengths, rows=rows), CFG).efficiency == pytest.approx(10 / 15, abs=0.02)
    assert make(*corpus, CFG).efficiency > 0.97
