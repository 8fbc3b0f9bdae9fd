"""The benchmark of the plan itself, on a small simulated corpus; nothing is timed."""

import io
import json
import sys
from pathlib import Path

import pytest


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])  # as for a script of this folder
    import simulated

    simulated.write(tmp_path, 30_000)
    return tmp_path


def test_measures_hold_what_they_say(folder, monkeypatch):
    import plan_measures as measures

    assert measures.measure_survey(folder, 16)["num_items"] == 30_000
    assert measures.measure_first(folder, 16, 3, 8)["own"]["not_mapped_mb"] > 0
    resumed = measures.measure_resume(folder, 16)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(resumed["seen"])))
    found = measures.measure_epoch(folder, 16)
    assert found["resumed_equal"] == len(resumed["seen"]) and found["token_fill"] > 0.93
    assert found["steps"] == pytest.approx(measures.measure_whole(folder, 16)["steps"], abs=1)


def test_a_simulated_corpus_is_that_of_the_prototype(folder):
    import simulated

    index, lengths = simulated.open_corpus(folder)
    assert index.rows["num_samples"].mean() / 16_000 == pytest.approx(3.6, abs=0.1)
    assert len(index.header.shards) == 30 and (lengths.target_lens[:, 0] >= 0).all()
