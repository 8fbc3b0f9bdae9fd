"""What a meter had summed up when its run was stopped is counted once by the run that goes on."""

import pytest
import torch

from osum.dist import World
from osum.train import window
from osum.train.meters import Meter


def meter(*tokens):
    """A meter of one task in which so many tokens were counted."""
    made = Meter(("asr",))
    sums = made.sums()
    for count in tokens:
        made.add_sums([[2.0 * count, count, count / 2], *(torch.tensor(s).zero_().tolist() for s in sums[1:])])
    return made


@pytest.fixture
def stopped(tmp_path):
    """The window of two ranks that stopped after step 7."""
    for rank, tokens in enumerate((10, 6)):
        window.save(tmp_path, 7, meter(tokens), World(rank, 2, rank))
    return tmp_path


@pytest.mark.parametrize(("size", "tokens"), [(1, [16]), (2, [10, 6]), (3, [10, 6, 0])])
def test_the_sums_of_every_rank_are_taken_over_once(stopped, size, tokens):
    for rank in range(size):
        found = meter(1)
        window.restore(stopped, 7, found, World(rank, size, rank))
        assert found.sums()[0][:2] == [2.0 * (tokens[rank] + 1), tokens[rank] + 1]


def test_another_step_and_a_run_that_was_never_stopped_change_nothing(stopped, tmp_path):
    for folder, step in ((stopped, 6), (tmp_path / "none", 0)):
        found = meter(1)
        window.restore(folder, step, found, World(0, 1, 0))
        assert found.sums() == meter(1).sums()


def test_a_missing_rank_is_named(stopped):
    (stopped / "rank-00001.json").unlink()
    with pytest.raises(ValueError, match=r"rank-00001.json: not of step 7; remove "):
        window.restore(stopped, 7, meter(1), World(0, 1, 0))
