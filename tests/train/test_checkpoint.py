import json
import resource
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from osum.train import checkpoint
from osum.train.configs import OptimConfig
from osum.train.optim import Optimizer

CFG = OptimConfig(lr=0.1, muon_lr=0.1, warmup_steps=1)


@contextmanager
def file_size_limit(num_bytes):
    """A disk that is full after so many bytes of a file."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def make(seed=0, width=3):
    torch.manual_seed(seed)
    model = nn.ModuleDict({"llm": nn.Linear(width, 2), "frozen": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    return model, Optimizer(model, CFG)


def train(model, optimizer, steps):
    for _ in range(steps):
        model["frozen"](model["llm"](torch.ones(1, 3))).square().sum().backward()
        optimizer.step(1.0)


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    model, optimizer = make()
    train(model, optimizer, 3)
    checkpoint.save(tmp_path, 3, model, optimizer, keep=2)
    train(model, optimizer, 3)
    other, its_optimizer = make(seed=1)
    other["frozen"].load_state_dict(model["frozen"].state_dict())  # a checkpoint holds only what is trained
    assert checkpoint.resume(tmp_path, other, its_optimizer) == 3
    train(other, its_optimizer, 3)
    assert torch.equal(other["llm"].weight, model["llm"].weight) and torch.equal(other["llm"].bias, model["llm"].bias)


def test_without_a_checkpoint_the_start_is_0(tmp_path):
    assert checkpoint.resume(tmp_path / "none", *make()) == 0


def test_the_last_are_kept(tmp_path):
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, step, *make(), keep=2)
    assert [p.name for p in checkpoint.existing(tmp_path)] == ["step-00000010", "step-00000015"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000010", "step-00000015"]
    assert json.loads((tmp_path / "step-00000015" / "state.json").read_text()) == {"step": 15}


def test_a_kill_between_two_files_leaves_what_was(tmp_path):
    checkpoint.save(tmp_path, 5, *make(), keep=2)
    partial = tmp_path / ".step-00000010.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    assert checkpoint.resume(tmp_path, *make()) == 5
    checkpoint.save(tmp_path, 10, *make(), keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000005", "step-00000010"]


@pytest.mark.parametrize("room", [60, 700])
def test_a_full_disk_is_named_and_leaves_what_was(tmp_path, room):
    checkpoint.save(tmp_path, 5, *make(), keep=1)
    model, optimizer = make()
    train(model, optimizer, 1)
    with file_size_limit(room), pytest.raises(OSError, match=r"step-00000010.*free some space"):
        checkpoint.save(tmp_path, 10, model, optimizer, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000005"]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "state.json"])
def test_a_damaged_checkpoint_is_named(tmp_path, name):
    checkpoint.save(tmp_path, 5, *make(), keep=1)
    path = tmp_path / "step-00000005" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="step-00000005"):
        checkpoint.resume(tmp_path, *make())


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    checkpoint.save(tmp_path, 5, *make(), keep=1)
    torch.save(nn.Linear(1, 1), tmp_path / "step-00000005" / "optimizer.pt")
    with pytest.raises(ValueError, match="step-00000005: can't go on from it"):
        checkpoint.resume(tmp_path, *make())


def test_another_model_is_refused(tmp_path):
    checkpoint.save(tmp_path, 5, *make(), keep=1)
    with pytest.raises(ValueError, match=r"step-00000005: 1 parameters are of another shape, for example llm.weight"):
        checkpoint.resume(tmp_path, *make(width=4))
