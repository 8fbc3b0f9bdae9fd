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
    """What a run leaves that nobody disturbed, for one rank or two."""
    found = {}

    def result(num_ranks: int = 1) -> dict:
        if num_ranks not in found:
            run = make_run("whole", num_ranks=num_ranks)
            assert finish(run.start()) == [0] * num_ranks, log_of(run)
            found[num_ranks] = run.result()
        return found[num_ranks]

    return result


def log_of(run):
    return "\n".join(p.read_text()[-2000:] for p in sorted(run.folder.glob("log.*")))


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.__name__)
def test_a_run_killed_at_a_named_point_ends_as_one_that_ran_through(point, whole, make_run):
    run = make_run(point.__name__)
    assert finish(run.start(die=point)) == [-signal.SIGKILL], log_of(run)
    assert finish(run.start()) == [0], log_of(run)
    assert differing(run.result(), whole()) == []


def test_three_random_kills_of_two_ranks_change_nothing(whole, make_run):
    run, rng = make_run("random", num_ranks=2), np.random.default_rng(0)
    for _ in range(3):
        ranks = run.start()
        time.sleep(rng.uniform(1.0, 4.0))
        ranks[int(rng.integers(2))].kill()
        assert any(finish(ranks)), "none was killed"
    assert finish(run.start()) == [0, 0], log_of(run)
    assert differing(run.result(), whole(2)) == []
