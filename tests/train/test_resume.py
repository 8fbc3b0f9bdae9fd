"""A run that was killed goes on as if it had not been: same metrics, same files, to the bit."""

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "bench"))  # beside the benchmark that does this fifty times
from fail_points import POINTS
from runs import Run, differing, finish


@pytest.fixture(scope="module")
def make_run(tmp_path_factory, shards_dir, tokenizer_dir):
    def make(name: str, **options) -> Run:
        return Run(tmp_path_factory.mktemp(name), shards_dir, tokenizer_dir, **options)

    return make


@pytest.fixture(scope="module")
def whole(make_run):
    """What a run leaves that nobody disturbed."""
    run = make_run("whole")
    assert finish(run.start()) == [0], log_of(run)
    return run.result()


def log_of(run):
    return "\n".join(p.read_text()[-2000:] for p in sorted(run.folder.glob("log.*")))


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.__name__)
def test_a_run_killed_at_a_named_point_ends_as_one_that_ran_through(point, whole, make_run):
    run = make_run(point.__name__)
    assert finish(run.start(die=point)) == [-signal.SIGKILL], log_of(run)
    assert finish(run.start()) == [0], log_of(run)
    assert differing(run.result(), whole) == []


def test_three_random_kills_of_two_ranks_change_nothing(make_run):
    whole, started_s = make_run("whole", num_ranks=2), time.monotonic()
    assert finish(whole.start()) == [0, 0], log_of(whole)
    took_s = time.monotonic() - started_s
    run, rng, num_killed = make_run("random", num_ranks=2), np.random.default_rng(0), 0
    for _ in range(3):
        ranks = run.start()
        time.sleep(took_s * rng.uniform(0.2, 0.6))
        ranks[int(rng.integers(2))].kill()
        num_killed += any(finish(ranks))  # a later attempt may have come to the end before
    assert num_killed
    assert finish(run.start()) == [0, 0], log_of(run)
    assert differing(run.result(), whole.result()) == []
