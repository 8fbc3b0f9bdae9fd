import json
import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from osum.data.plan.planner import Planner
from osum.rng import rng_for
from osum.train import checkpoint
from osum.train.configs import OptimConfig, PhaseConfig, TrainConfig
from osum.train.meters import MEASURED, Meter

LONG = {"max_steps": 14, "log_every": 2, "valid_every": 14, "save_every": 1}
FAST = OptimConfig(lr=1e-2, muon_lr=1e-2, warmup_steps=1, schedule="cosine")


def metrics(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in MEASURED} for line in lines]


def weights(folder):
    return checkpoint.read_parameters(checkpoint.existing(folder / "checkpoints")[-1])


def same(a, b):
    """To the bit: what was reported and what was learnt."""
    one, other = weights(a), weights(b)
    return metrics(a) == metrics(b) and one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.fixture
def trained(make_trainer, tmp_path):
    """A finished run of 6 steps."""
    make_trainer("whole").run()
    return tmp_path / "whole"


def test_every_window_has_one_line(trained):
    assert [(m["split"], m["step"]) for m in metrics(trained)] == [
        ("train", 2), ("train", 3), ("train", 4), ("train", 6), ("dev", 6),
    ]  # fmt: skip
    first, last = metrics(trained)[0], metrics(trained)[-1]
    assert {
        "loss",
        "loss.asr",
        "loss.sgc",
        "ctc",
        "token_accuracy",
        "tokens",
        "lr",
        "grad_norm",
        "epoch",
    } <= first.keys()
    assert first["lr"] == 1e-3 and 0 < last["loss"] < 6.5 and 0 <= last["token_accuracy"] <= 1
    assert 1 < last["speech_rank"] < 24 and "speech_rank" not in first


def test_the_flop_of_a_step_become_a_share_of_the_peak(make_trainer, frozen_encoder_record, tmp_path):
    phases = [PhaseConfig(train=["^adaptor", "^boundaries"]), PhaseConfig(1, [""])]
    trainer = make_trainer(
        "mfu", record=frozen_encoder_record, peak_tflops=1e-3, phases=phases, max_steps=2, log_every=1
    )
    costs = []
    trainer.flop.renew = lambda renew=trainer.flop.renew: (renew(), costs.append(dict(trainer.flop.per_position)))
    costs.append(trainer.flop.per_position)
    trainer.run()
    assert costs[0]["speech"] == costs[-1]["speech"] and 3 * costs[0]["target"] == 2 * costs[-1]["target"]
    lines = map(json.loads, (tmp_path / "mfu" / "metrics.jsonl").read_text().splitlines())
    assert all(0 < line["mfu"] < 10 for line in lines if line["split"] == "train")


def test_the_loss_falls(make_trainer, tmp_path):
    make_trainer("long", max_steps=12, log_every=4, valid_every=12, save_every=12, optim=FAST).run()
    losses = [m["loss"] for m in metrics(tmp_path / "long") if m["split"] == "train"]
    assert losses[-1] < 0.9 * losses[0]


def test_a_seed_decides_every_bit_and_workers_none(trained, make_trainer, tmp_path):
    for num_workers in (0, 2):
        make_trainer(f"again{num_workers}", num_workers=num_workers).run()
        assert same(trained, tmp_path / f"again{num_workers}")
    make_trainer("other", seed=8).run()
    assert not same(trained, tmp_path / "other")


class Power:
    """A loader that fails after some steps, as a node does."""

    def __init__(self, loader, steps):
        self._loader, self._steps = loader, steps

    def steps(self, start, known):
        for step in self._loader.steps(start, known):
            if step.step == self._steps:
                raise KeyboardInterrupt
            yield step

    def __getattr__(self, name):
        return getattr(self._loader, name)


@pytest.mark.parametrize("steps", [3, 5])
def test_a_killed_run_goes_on_bit_for_bit(trained, make_trainer, tmp_path, steps):
    killed = make_trainer("killed")
    killed.loader = Power(killed.loader, steps)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    with open(tmp_path / "killed" / "metrics.jsonl", "a") as f:
        f.write('{"step": 5, "spl')  # cut short by the kill
    resumed = make_trainer("killed")
    assert resumed.start_step == 3
    resumed.run()
    assert same(trained, tmp_path / "killed")


@pytest.fixture
def planned(monkeypatch):
    """The epochs that are planned, in order."""
    epochs, plan = [], Planner.epoch
    monkeypatch.setattr(Planner, "epoch", lambda self, number: epochs.append(number) or plan(self, number))
    return epochs


@pytest.mark.parametrize("kind", ["as saved", "without the start of its epoch", "of another plan", "between epochs"])
def test_resuming_in_a_late_epoch_plans_none_before_it(kind, make_trainer, tmp_path, planned):
    make_trainer("whole", **LONG).run()
    per_epoch, planned[:] = make_trainer("none").loader.plan(0).num_steps, []
    killed = make_trainer("killed", **LONG)
    killed.loader = Power(killed.loader, 3 * per_epoch + (0 if kind == "between epochs" else 1))
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    path = checkpoint.existing(tmp_path / "killed" / "checkpoints")[-1] / checkpoint.STATE
    state = json.loads(path.read_text())
    assert (state["epoch_start"]["epoch"], state["epoch_start"]["step"]) == (3, 3 * per_epoch) and state["step"] >= 9
    if kind == "without the start of its epoch":
        del state["epoch_start"]
    if kind == "of another plan":
        state["epoch_start"] |= {"plan": "another", "step": 1}
    path.write_text(json.dumps(state))
    planned.clear()
    make_trainer("killed", **LONG).run()
    assert planned[0] == (3 if kind in ("as saved", "between epochs") else 0)
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_a_finished_run_has_nothing_to_do(trained, make_trainer, tmp_path):
    before = metrics(trained)
    make_trainer("whole").run()
    assert metrics(trained) == before


def test_an_epoch_accounts_for_every_utterance(make_trainer, shards_dir, tmp_path):
    shards = tmp_path / "damaged"
    shutil.copytree(shards_dir, shards)
    rows = np.load(shards / "train" / "index.npy")
    with open(sorted((shards / "train").glob("*.tar"))[int(rows[4]["shard"])], "r+b") as tar:
        tar.seek(int(rows[4]["audio_offset"]))
        tar.write(b"\0" * 2000)
    trainer = make_trainer("drops", shards)
    per_epoch = trainer.loader.plan(0).num_steps
    trainer = make_trainer("drops", shards, max_steps=per_epoch + 1)
    trainer.run()
    (ledger,) = sorted((tmp_path / "drops" / "epochs").iterdir())
    found = json.loads(ledger.read_text())
    assert (ledger.name, found["read"], found["used"]) == ("00000.json", 24, 23)
    (reason,) = found["dropped"].values()
    assert reason["defect"] and len(reason["ids"]) == 1 and found["complete"]
    of_tasks = found["corpora"]["toy"]["tasks"].values()
    assert sum(t["planned"] for t in of_tasks) == 24 and sum(t["used"] for t in of_tasks) == 23


def test_a_loss_of_nan_names_the_utterance_and_leaves_the_weights(make_trainer):
    trainer = make_trainer("nan", ctc_weight=0.0)
    before = {n: p.clone() for n, p in trainer.model.named_parameters()}
    poisoned = next(trainer.loader.steps())
    batch = poisoned.batches[0]
    batch.audio = batch.audio / 2**15
    batch.audio[int(batch.audio_lens[0])] = torch.nan  # in the second utterance
    trainer.loader = Power(trainer.loader, -1)
    trainer.loader.steps = lambda *_: iter([poisoned])
    with pytest.raises(ValueError, match=rf"step 0: the loss is nan; look at utterances \['{batch.keys[1]}'\]"):
        trainer.run()
    assert all(torch.equal(before[n], p) for n, p in trainer.model.named_parameters())


def test_a_gradient_that_is_not_finite_is_named_and_leaves_the_weights(make_trainer):
    trainer = make_trainer("inf")
    before = {n: p.clone() for n, p in trainer.model.named_parameters()}
    trainer.model.boundaries.weight.register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(ValueError, match=r"step 0: the gradient is (inf|nan); lower optim.lr"):
        trainer.step(next(trainer.loader.steps()), Meter(trainer.tasks))
    assert all(torch.equal(before[n], p) for n, p in trainer.model.named_parameters())


def test_accumulated_gradients_are_those_of_one_mean(make_trainer):
    trainer = make_trainer("mean", spec_augment=None, ctc_weight=0.5)
    step = next(trainer.loader.steps())
    losses = [trainer.model.eval()(b) for b in step.batches]
    assert len(losses) == 2
    tokens, units = (sum(int(n) for n in counts) for counts in (
        [loss.num_tokens.sum() for loss in losses], [b.ctc_lens.sum() for b in step.batches]
    ))  # fmt: skip
    (sum(loss.weighted_nll for loss in losses) / tokens + 0.5 * sum(loss.ctc for loss in losses) / units).backward()
    wanted = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.requires_grad]).norm()
    trainer.model.zero_grad()
    trainer.model.train = lambda mode=True: trainer.model  # without dropout
    assert trainer.step(step, Meter(trainer.tasks)) == pytest.approx(wanted.item(), rel=1e-5)


def test_bfloat16_learns_as_float32_does_and_goes_on_bit_for_bit(make_trainer, frozen_encoder_record, tmp_path):
    for name, precision in (("exact", "float32"), ("short", "bfloat16"), ("killed", "bfloat16")):
        trainer = make_trainer(name, record=frozen_encoder_record, precision=precision, optim=FAST)
        if name == "killed":
            trainer.loader = Power(trainer.loader, 4)
            with pytest.raises(KeyboardInterrupt):
                trainer.run()
            trainer = make_trainer(name, record=frozen_encoder_record, precision=precision, optim=FAST)
        trainer.run()
        dtypes = {p.dtype for p in trainer.model.parameters() if p.requires_grad}
        assert dtypes == {torch.float32}
    exact, short = (metrics(tmp_path / name)[-1]["loss"] for name in ("exact", "short"))
    assert short == pytest.approx(exact, rel=0.02) and short != exact
    assert same(tmp_path / "short", tmp_path / "killed")


def test_the_copies_of_an_utterance_are_masked_differently(make_trainer):
    trainer = make_trainer("copies")
    step, drawn, run = next(trainer.loader.steps()), [], trainer.replica.run
    batch = step.batches[0]

    def noting(batch, cfg, rngs, exchanging):
        drawn.append([int(deepcopy(rng).integers(2**62)) for rng in rngs])
        return run(batch, cfg, rngs, exchanging=exchanging)

    trainer.replica.run = noting
    for copy in (0, 1, 0):
        trainer._forward(replace(batch, copies=[copy] * len(batch.keys)), step, 0)
    first, second, again = drawn
    assert first == again == [int(rng_for(trainer.cfg.seed, "spec", 0, key).integers(2**62)) for key in batch.keys]
    assert not set(first) & set(second)


def test_batches_without_weights_count_every_target_once(make_trainer):
    norms = []
    for name, weightless in (("weights", False), ("none", True)):
        trainer = make_trainer(name)
        step = next(trainer.loader.steps())
        batches = [replace(b, weights=None) if weightless else b for b in step.batches]
        norms.append(trainer.step(replace(step, batches=batches), Meter(trainer.tasks)))
    assert norms[0] == norms[1] > 0


@pytest.mark.parametrize("name", ["max_steps", "log_every", "valid_every", "save_every", "keep_checkpoints"])
def test_options_must_be_at_least_one(name):
    with pytest.raises(ValueError, match=f"train.{name} is 0; it must be at least 1"):
        TrainConfig(**{name: 0})
