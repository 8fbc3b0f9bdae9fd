import json
import resource
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from osum.data.load.loader import FIRST_EPOCH, EpochStart
from osum.dist import World
from osum.train import checkpoint
from osum.train.configs import OptimConfig, TrainConfig
from osum.train.optim import Optimizer
from osum.train.saver import Saver

CFG = OptimConfig(lr=0.1, muon_lr=0.1, warmup_steps=1)
ALONE = World(0, 1, 0)
SHARD = "shard-00001-model-00001-of-00001.safetensors"


@contextmanager
def file_size_limit(num_bytes):
    """A disk that is full after so many bytes of a file."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def make(seed=0, width=3, cfg=CFG):
    torch.manual_seed(seed)
    model = nn.ModuleDict({"llm": nn.Linear(width, 2), "frozen": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    return model, Optimizer(model, cfg)


def train(model, optimizer, steps):
    for _ in range(steps):
        model["frozen"](model["llm"](torch.ones(1, 3))).square().sum().backward()
        optimizer.step(1.0)


def save(folder, step, optimizer=None, metrics=None):
    saver = Saver(folder, make()[1] if optimizer is None else optimizer, ALONE, keep_last=99)
    saver.save(step, metrics)
    saver.wait()
    return checkpoint.path_of(folder, step)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("muon_lr", [0.1, None])
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path, muon_lr):
    cfg = OptimConfig(lr=0.1, muon_lr=muon_lr, warmup_steps=1)
    model, optimizer = make(cfg=cfg)
    train(model, optimizer, 3)
    save(tmp_path, 3, optimizer)
    train(model, optimizer, 3)
    other, its_optimizer = make(seed=1, cfg=cfg)
    other["frozen"].load_state_dict(model["frozen"].state_dict())  # a checkpoint holds only what is trained
    assert checkpoint.resume(tmp_path, its_optimizer) == 3
    train(other, its_optimizer, 3)
    assert torch.equal(other["llm"].weight, model["llm"].weight) and torch.equal(other["llm"].bias, model["llm"].bias)


def test_a_checkpoint_is_safetensors_of_what_is_trained_and_its_optimizer(tmp_path):
    model, optimizer = make()
    train(model, optimizer, 1)
    path = save(tmp_path, 3, optimizer, {"loss": 0.5})
    assert names(path) == [SHARD, "state.json"]
    assert sorted(load_file(path / SHARD)) == [
        "model/llm.bias", "model/llm.weight",
        "optimizer/llm.bias/exp_avg", "optimizer/llm.bias/exp_avg_sq", "optimizer/llm.bias/step",
        "optimizer/llm.weight/momentum_buffer",
    ]  # fmt: skip
    size = (path / SHARD).stat().st_size
    state = json.loads((path / "state.json").read_text())
    assert (state["step"], state["metrics"], state["files"]) == (3, {"loss": 0.5}, {SHARD: size})
    found = checkpoint.read_parameters(path)
    assert found.keys() == {"llm.weight", "llm.bias"} and torch.equal(found["llm.weight"], model["llm"].weight)


def test_without_a_checkpoint_the_start_is_0(tmp_path):
    assert checkpoint.resume(tmp_path / "none", make()[1]) == 0


def test_the_start_of_an_epoch_is_kept(tmp_path):
    saver = Saver(tmp_path, make()[1], ALONE, keep_last=99)
    saver.save(5, epoch_start=EpochStart(2, 4, "plan"))
    saver.wait()
    assert checkpoint.epoch_start(tmp_path, 5) == EpochStart(2, 4, "plan")
    assert checkpoint.epoch_start(tmp_path, 0) == FIRST_EPOCH
    path = checkpoint.path_of(tmp_path, 5) / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"epoch_start": {"epoch": 2, "step": 6}}))
    with pytest.raises(ValueError, match=r"step-00000005: damaged \(epoch 2 begins at step 6"):
        checkpoint.epoch_start(tmp_path, 5)
    del state["epoch_start"]  # as checkpoints of before
    path.write_text(json.dumps(state))
    assert checkpoint.epoch_start(tmp_path, 5) == FIRST_EPOCH


def test_the_last_are_kept(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, step)
        checkpoint.prune(tmp_path, keep_last=2)
    assert names(tmp_path) == ["step-00000010", "step-00000015"]


@pytest.mark.parametrize("higher_is_better", ["token_accuracy", "speech_rank"])
def test_the_best_by_each_metric_are_kept_as_well(tmp_path, higher_is_better):
    losses, accuracies = (0.5, 0.3, 0.3, 0.9, 0.8), (0.1, 0.9, 0.2, 0.3, 0.4)
    for step, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), start=1):
        save(tmp_path, step, metrics={"loss": loss, higher_is_better: accuracy})
    save(tmp_path, 6)  # without a validation
    best = [p.name for p in checkpoint.best(tmp_path, "loss", 3)]
    assert best == ["step-00000002", "step-00000003", "step-00000001"]
    checkpoint.prune(tmp_path, keep_last=1, keep_best={"loss": 2, higher_is_better: 2})
    assert names(tmp_path) == ["step-00000002", "step-00000003", "step-00000005", "step-00000006"]
    with pytest.raises(ValueError, match=f"no checkpoint has the metric 'los'; they have loss, {higher_is_better}"):
        checkpoint.prune(tmp_path, keep_last=1, keep_best={"los": 1})


def test_a_kill_between_two_files_leaves_what_was(tmp_path):
    save(tmp_path, 5)
    partial = tmp_path / ".step-00000010.partial"
    partial.mkdir()
    (partial / SHARD).write_bytes(b"half")
    assert checkpoint.resume(tmp_path, make()[1]) == 5
    save(tmp_path, 10)
    assert names(tmp_path) == ["step-00000005", "step-00000010"]


@pytest.mark.parametrize("room", [60, 700])
def test_a_full_disk_is_named_and_leaves_what_was(tmp_path, room):
    save(tmp_path, 5)
    model, optimizer = make()
    train(model, optimizer, 1)
    with file_size_limit(room), pytest.raises(OSError, match=r"step-00000010: .*File too large.*; free some space"):
        save(tmp_path, 10, optimizer)
    assert names(tmp_path) == ["step-00000005"]


def test_a_folder_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"step-00000010: .*Not a directory.*; see that this folder can be written"):
        save(tmp_path / "file" / "checkpoints", 10)


@pytest.mark.parametrize("name", [SHARD, "state.json"])
@pytest.mark.parametrize("kept", [0.5, None])
def test_a_damaged_checkpoint_is_named(tmp_path, name, kept):
    path = save(tmp_path, 5) / name
    if kept is None and name == SHARD:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for use in (lambda: checkpoint.resume(tmp_path, make()[1]), lambda: checkpoint.average([path.parent])):
        with pytest.raises(ValueError, match=r"step-00000005: damaged .*remove it to go on from the one before"):
            use()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "1 parameters are of another shape, for example llm.weight"),
        ({"cfg": OptimConfig(lr=0.1, warmup_steps=1)}, r"made with other optimizers \(momentum_buffer of llm.weight\)"),
    ],
)
def test_another_model_is_refused(tmp_path, change, message):
    model, optimizer = make()
    train(model, optimizer, 1)
    save(tmp_path, 5, optimizer)
    with pytest.raises(ValueError, match=rf"step-00000005: can't go on from it \(.*{message}"):
        checkpoint.resume(tmp_path, make(**change)[1])


def test_the_average_literal(tmp_path):
    paths = []
    for step, value in ((1, 0.0), (2, 1.0), (3, 5.0)):
        model, optimizer = make()
        nn.init.constant_(model["llm"].bias, value)
        paths.append(save(tmp_path, step, optimizer))
    found = checkpoint.average(paths)
    assert torch.equal(found["llm.bias"], torch.tensor([2.0, 2.0])) and found["llm.weight"].dtype == torch.float32


def test_a_count_of_best_checkpoints_is_positive():
    with pytest.raises(ValueError, match=r"train.keep_best.loss is 0; it must be at least 1"):
        TrainConfig(keep_best={"loss": 0})
