"""Staged unfreezing: what moves when, and that a resumed run is in the phase that it was in."""

from itertools import islice

import pytest
import torch
from torch import nn

from osum import config
from osum.bin.train_sulm import TrainSulmConfig
from osum.train import checkpoint
from osum.train.configs import PhaseConfig, TrainConfig
from osum.train.meters import Meter
from osum.train.phases import Phases

PARTS = ("encoder", "adaptor", "llm")
STAGED = [
    PhaseConfig(train=["^adaptor", "^boundaries"]),
    PhaseConfig(start_step=2, train=["^adaptor", "^boundaries", "^encoder", "^ctc"], warmup_steps=2),
    PhaseConfig(start_step=4),
]


@pytest.fixture
def parts():
    model = nn.ModuleDict({name: nn.Linear(2, 1) for name in PARTS})
    return dict(model.named_parameters())


def moving(parts):
    return {name.split(".")[0] for name, parameter in parts.items() if parameter.requires_grad}


def test_what_moves_literal(parts):
    phases = Phases(
        [PhaseConfig(train=["adaptor"]), PhaseConfig(3, ["encoder", "adaptor"]), PhaseConfig(5, [""])], parts
    )
    found = {}
    for step in (0, 1, 3, 4, 5, 9):
        found[step] = (phases.enter(step), moving(parts))
    assert found == {
        0: (True, {"adaptor"}), 1: (False, {"adaptor"}), 3: (True, {"adaptor", "encoder"}),
        4: (False, {"adaptor", "encoder"}), 5: (True, set(PARTS)), 9: (False, set(PARTS)),
    }  # fmt: skip
    phases.enter(0)
    phases.leave()
    assert moving(parts) == set(PARTS)


def test_without_phases_all_moves(parts):
    phases = Phases([], parts)
    assert phases.enter(7) and moving(parts) == set(PARTS) and phases.lr_share(0) == 1.0


def test_a_phase_warms_up_literal(parts):
    phases = Phases([PhaseConfig(), PhaseConfig(10, warmup_steps=4)], parts)
    assert [phases.lr_share(step) for step in (0, 9, 10, 11, 13, 14)] == [1.0, 1.0, 0.25, 0.5, 1.0, 1.0]


def test_mistakes_are_named(parts):
    with pytest.raises(
        ValueError, match=r"no trained parameter matches 'adapter' of the phase from step 3; near names"
    ):
        Phases([PhaseConfig(), PhaseConfig(3, ["adapter"])], parts)
    with pytest.raises(ValueError, match=r"none of them trains llm.bias and 1 more; freeze it with model.freeze"):
        Phases([PhaseConfig(train=["adaptor", "encoder"])], parts)
    for starts in ([1], [0, 4, 4], [0, 5, 3]):
        with pytest.raises(ValueError, match=r"train.phases start at .*; the first must start at 0"):
            TrainConfig(phases=[PhaseConfig(s) for s in starts])


def trained(trainer):
    """What has moved since the start, as parts."""
    initial = trainer.initial
    return {n.split(".")[0] for n, p in trainer.model.named_parameters() if not torch.equal(p, initial[n])}


@pytest.fixture
def staged(make_trainer):
    """`staged("a", max_steps=3)` -> a trainer with phases that remembers where it started."""

    def make(name: str, **changes):
        trainer = make_trainer(name, phases=STAGED, **{"save_every": 1, "keep_checkpoints": 9, **changes})
        trainer.initial = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
        return trainer

    return make


def test_only_the_parts_of_a_phase_move(staged):
    steps, found = iter(staged("stages").loader.steps()), []
    trainer = staged("stages")
    for _ in range(5):
        trainer.step(next(steps), Meter(trainer.tasks))
        found.append(trained(trainer))
    first = {"adaptor", "boundaries"}
    second = first | {"encoder", "ctc_head"}
    assert found == [first, first, second, second, second | {"llm"}]


def test_each_phase_takes_the_memory_of_its_checkpoints_at_its_first_step(staged):
    trainer, found = staged("stages"), []
    for step in islice(trainer.loader.steps(), 5):
        trainer.step(step, Meter(trainer.tasks))
        assert set(trainer.saver._room.state_dict_cache) == set(checkpoint.state_of(trainer.optimizer))
        found.append(trainer.saver._room.state_dict_cache)
    assert [[id(f) for f in found].index(id(f)) for f in found] == [0, 0, 2, 2, 4]


@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_change_of_phase_is_exact_under_resume(staged, tmp_path, at):
    staged("whole").run()
    first = staged("killed")
    save = first._save

    def save_and_die(step: int, *args: object, **options: object) -> None:
        save(step, *args, **options)
        if step == at:
            raise KeyboardInterrupt

    first._save = save_and_die
    with pytest.raises(KeyboardInterrupt):
        first.run()
    resumed = staged("killed")
    assert resumed.start_step == at
    resumed.run()
    one, other = (
        checkpoint.read_parameters(checkpoint.existing(tmp_path / name / "checkpoints")[-1])
        for name in ("whole", "killed")
    )
    assert one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_the_staged_configuration_goes_on_top_of_the_papers(repo_root):
    folder = repo_root / "egs/osum/conf/osum"
    files = [word for name in ("train_sulm", "staged") for word in ("--config", str(folder / f"{name}.yaml"))]
    needed = [word for name in ("shards_dir", "tokenizer_dir", "out_dir") for word in (f"--{name}", "x")]
    cfg = config.load(TrainSulmConfig, [*files, *needed]).train
    assert [(p.start_step, len(p.train)) for p in cfg.phases] == [(0, 2), (10_000, 3), (20_000, 1)]
    assert (cfg.optim.lr, cfg.optim.lr_scales, cfg.precision) == (5e-5, {"^encoder": 0.5}, "bfloat16")
