"""Checkpoints written beside training: what they hold, when they get their names, and errors of the disk."""

from contextlib import closing

import pytest
import torch
from torch import nn

from osum.dist import World
from osum.train import checkpoint
from osum.train.configs import OptimConfig
from osum.train.optim import Optimizer
from osum.train.saver import Saver

ALONE = World(0, 1, 0)


@pytest.fixture
def layer():
    return nn.Linear(3, 2)


@pytest.fixture
def make_saver(layer, tmp_path):
    def make(**options) -> Saver:
        return Saver(tmp_path / "checkpoints", Optimizer(layer, OptimConfig()), ALONE, **{"keep_last": 2, **options})

    return make


def names(tmp_path):
    return [p.name for p in checkpoint.existing(tmp_path / "checkpoints")]


def test_training_goes_on_without_changing_what_is_written(layer, make_saver, tmp_path):
    saver, before = make_saver(), layer.weight.detach().clone()
    saver.save(1)
    with torch.no_grad():
        layer.weight.fill_(7.0)
    saver.wait()
    found = checkpoint.read_parameters(checkpoint.path_of(tmp_path / "checkpoints", 1))
    assert torch.equal(found["weight"], before) and not torch.equal(before, layer.weight)


def test_each_copy_goes_into_the_same_memory_that_nothing_else_changes(layer, make_saver, tmp_path):
    saver = make_saver()
    saver.make_room()
    room = saver._room.state_dict_cache["model/weight"]
    for step in (1, 2):
        with torch.no_grad():
            layer.weight.fill_(step)
        saver.save(step)
        assert saver._room.state_dict_cache["model/weight"] is room
        saver.wait()
    for step in (1, 2):
        found = checkpoint.read_parameters(checkpoint.path_of(tmp_path / "checkpoints", step))
        assert found["weight"].unique().tolist() == [step]


def test_a_checkpoint_has_its_name_when_it_is_written(make_saver, tmp_path):
    saver = make_saver()
    saver.save(1)
    assert names(tmp_path) == []
    saver._pending.written.result()
    assert names(tmp_path) == []
    saver.poll()
    assert names(tmp_path) == ["step-00000001"]
    saver.poll()
    saver.wait()
    saver.wait()
    assert names(tmp_path) == ["step-00000001"]


def test_the_next_one_waits_for_the_one_before_and_old_ones_go(make_saver, tmp_path):
    saver = make_saver(keep_last=1, keep_best={"loss": 1})
    for step, loss in ((1, 0.5), (2, 0.4), (3, 0.6), (4, 0.7)):
        saver.save(step, {"loss": loss})
    assert names(tmp_path) == ["step-00000002", "step-00000003"]
    saver.wait()
    assert names(tmp_path) == ["step-00000002", "step-00000004"]


def test_an_error_of_the_disk_comes_with_the_next_call_and_leaves_nothing_half(make_saver, tmp_path):
    saver = make_saver()
    saver.save(1)
    saver.save(2)
    saver._pending.written.result()
    (tmp_path / "checkpoints" / "step-00000002").write_text("in the way of its name")
    with pytest.raises(OSError, match=r"step-00000002: .*Not a directory.*see that this folder can be written"):
        saver.save(3)
    assert [p.name for p in (tmp_path / "checkpoints").glob(".*")] == [] and names(tmp_path) == ["step-00000001"]


def test_a_run_that_fails_keeps_the_checkpoint_that_is_being_written(make_saver, tmp_path):
    saver = make_saver()
    with pytest.raises(KeyError), closing(saver):
        saver.save(1)
        raise KeyError
    assert names(tmp_path) == ["step-00000001"]
    saver.close()
