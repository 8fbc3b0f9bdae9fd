"""The training loop of both training stages: exact accumulation over ranks and micro-batches, and exact resumption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from osum import dist, log
from osum.data.load.loader import Step, TrainLoader
from osum.data.load.pack import LoadedPack
from osum.model.losses import Loss
from osum.model.precision import autocast
from osum.rng import rng_for
from osum.text.template import IGNORED
from osum.train import checkpoint, compute, finite, memory, parallel, preemption, spread, window
from osum.train.board import Board
from osum.train.configs import TrainConfig
from osum.train.examples import Chosen, ExampleWriter
from osum.train.flop import TrainingFlop, peak_flop_per_s
from osum.train.meters import MEASURED, Meter, MetricsFile, joined
from osum.train.optim import Optimizer, lr_share
from osum.train.phases import Phases
from osum.train.saver import Saver
from osum.train.watchdog import Watchdog, watching
from osum.types import Batch

logger = log.get(__name__)


class Trainer:
    """One run on one rank."""

    def __init__(
        self,
        model: nn.Module,
        loader: TrainLoader,
        valid_packs: Callable[[], Iterator[LoadedPack]],
        cfg: TrainConfig,
        world: dist.World,
        out_dir: Path,
        chosen: Chosen | None = None,
    ) -> None:
        """`valid_packs` gives this rank's share of the dev set, as many packs on every rank.

        About the `chosen` utterances the model writes at each validation; they are for the main process.
        """
        self.cfg, self.world, self.out_dir = cfg, world, out_dir
        self.loader, self.valid_packs = loader, valid_packs
        parallel.check(cfg)
        compute.prepare(model, cfg.precision, cfg.compute, world.device)
        self.model = parallel.place(model, world, cfg.compute.parallel)
        self.optimizer = Optimizer(self.model, cfg.optim)
        self.start_step = checkpoint.resume(out_dir / "checkpoints", self.optimizer)
        self.epoch_start = checkpoint.epoch_start(out_dir / "checkpoints", self.start_step)
        self.phases = Phases(cfg.phases, self.optimizer.trained)
        self.phases.enter(self.start_step)
        self.replica = parallel.Replica(self.model, world)
        self.flop = TrainingFlop(self.model)
        self.tasks = loader.task_names
        self.metrics = MetricsFile(out_dir / "metrics.jsonl", self.start_step) if world.is_main else None
        folder, keep = out_dir / "checkpoints", (cfg.keep_checkpoints, cfg.keep_best)
        self.board = Board(out_dir / "tensorboard", self.start_step) if cfg.tensorboard and world.is_main else None
        self.examples = ExampleWriter(chosen, cfg, world, out_dir / "examples.jsonl", self.start_step, self.board)
        self.saver, self.saved_step = Saver(folder, self.optimizer, world, *keep), self.start_step
        self.stop = preemption.StopRequest()
        self.all_stop = False
        self.watchdog = Watchdog()

    def run(self) -> None:
        """Train to `max_steps`, from the last checkpoint on. Preempted after saving, if a signal asks for it."""
        stalls = watching(self.cfg.stall_timeout_s, self.out_dir / "stalls", self.world.rank)
        with preemption.listening() as self.stop, stalls as self.watchdog, closing(self.saver):
            self._run()
        self.phases.leave()
        parallel.unshard(self.model)

    def _run(self) -> None:
        cfg, started_s = self.cfg, time.monotonic()
        meter = Meter(self.tasks, self.flop.of, peak_flop_per_s(self.world.device, cfg.peak_tflops))
        total, initial = cfg.max_steps, self.start_step
        window.restore(self.out_dir / "window", self.start_step, meter, self.world)
        bar = log.progress(desc="train", unit="step", total=total, initial=initial, rank=self.world.rank)
        self.model.train()
        for step in meter.waiting(self.loader.steps(initial, self.epoch_start) if initial < total else ()):
            self.epoch_start = step.epoch_start
            grad_norm = self.step(step, meter)
            done = step.step + 1
            self.saver.poll()
            self.watchdog.progress(f"step {done}")
            bar.update()
            if step.step_in_epoch + 1 == step.steps_in_epoch:
                self._close_epoch(step.epoch)
            # Validations and checkpoints end a window of the meter too: a resumed run writes the same lines.
            if done == cfg.max_steps or any(done % n == 0 for n in (cfg.log_every, cfg.valid_every, cfg.save_every)):
                values = meter.read()
                values |= meter.read_speed(values["tokens"])
                eta_s = (time.monotonic() - started_s) / (done - self.start_step) * (cfg.max_steps - done)
                self._report("train", done, step.epoch, values, grad_norm=grad_norm, eta_s=round(eta_s))
                bar.set_postfix_str(f"loss={values['loss']:.3f}", refresh=False)
                meter.reset()
            on_dev: dict[str, float] = {}
            if done % cfg.valid_every == 0 or done == cfg.max_steps:
                on_dev = self.validate()
                self._report("dev", done, step.epoch, on_dev)
                self.examples.write(self.model, done)
                self.model.train()
                meter.reset()
            if done % cfg.save_every == 0 or done == cfg.max_steps or (on_dev and cfg.keep_best):
                self._save(done, on_dev)
            if done == cfg.max_steps:
                break
            if self.all_stop:
                self._preempt(done, meter)
        self.saver.wait()
        bar.close()

    def step(self, step: Step, meter: Meter) -> float:
        """Make one optimizer step; return the norm of the gradient.

        ValueError on all ranks if something is not finite, naming the utterances with such a loss of any rank.
        """
        if new_phase := self.phases.enter(step.step):
            self.replica.renew()
            self.flop.renew()
            self.model.train()
        total_weight, num_units = self._global_counts(step.batches)
        losses: list[Loss] = []
        for micro, batch in enumerate(step.batches):
            with memory.naming(batch):
                loss = self._forward(batch, step, micro)
                total = loss.weighted_nll / total_weight + self.cfg.ctc_weight * loss.ctc / num_units
                # The exchange averages over ranks, but the counts are global already: hence the factor.
                (total * self.world.size).backward()
            meter.add(batch, loss)
            losses.append(finite.detached(loss))
        grad_norm = parallel.clip(self.model, self.cfg.optim.max_grad_norm)
        finite.check(step.step, step.batches, losses, grad_norm)
        self.optimizer.step(self._lr_share(step.step))
        if new_phase or step.step == self.start_step:
            self.saver.make_room()
        return float(grad_norm)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the means over the dev set, without augmentation or dropout."""
        self.model.eval()
        meter = Meter(self.tasks)
        with spread.observing(self.model.heard) as heard:
            for pack in self.valid_packs():
                batch = pack.batch.to(self.world.device)
                with autocast(self.world.device, self.cfg.precision):
                    meter.add(batch, self.model(batch))
                self.watchdog.progress("a batch of the dev set")
        return meter.read() | {"speech_rank": heard.effective_rank()}

    def _forward(self, batch: Batch, step: Step, micro: int) -> Loss:
        exchanging = micro == len(step.batches) - 1
        virtual_rank = self.world.rank + micro * self.world.size
        # Dropout depends on what is computed, not on who computes it: the same on any world size, and after a resume.
        torch.manual_seed(int(rng_for(self.cfg.seed, "dropout", step.step, virtual_rank).integers(2**62)))
        batch = batch.to(self.world.device)
        with autocast(self.world.device, self.cfg.precision):
            if self.cfg.spec_augment is None:
                return self.replica.run(batch, exchanging=exchanging)
            rngs = [
                rng_for(self.cfg.seed, "spec", step.epoch, key, *([copy] if copy else ()))
                for key, copy in zip(batch.keys, batch.copies, strict=True)
            ]
            return self.replica.run(batch, self.cfg.spec_augment, rngs, exchanging=exchanging)

    def _lr_share(self, step: int) -> float:
        return lr_share(step, self.cfg.max_steps, self.cfg.optim) * self.phases.lr_share(step)

    def _global_counts(self, batches: list[Batch]) -> tuple[float, float]:
        # The request to stop travels with them: all ranks come to know of it in the same step.
        weight = sum(_target_weight(b) for b in batches)
        units = sum(int(b.ctc_lens.sum()) for b in batches if b.ctc_lens is not None)
        counts = torch.tensor([weight, units, self.stop.received], dtype=torch.float64, device=self.world.device)
        total_weight, num_units, stops = dist.all_reduce_sum(counts).tolist()
        self.all_stop = stops > 0
        return total_weight or 1.0, max(num_units, 1.0)

    def _report(self, split: str, step: int, epoch: int, values: dict[str, float], **more: float) -> None:
        if self.metrics is None:
            return
        lr = self.cfg.optim.lr * self._lr_share(step - 1)
        values = {**values, **more}
        self.metrics.write(step=step, epoch=epoch, split=split, lr=lr, wall_s=round(time.time(), 2), **values)
        if self.board is not None:
            self.board.write(split, step, {"lr": lr, **values})
        logger.info("%s step=%d/%d epoch=%d lr=%.2e %s", split, step, self.cfg.max_steps, epoch, lr, joined(values))

    def _close_epoch(self, epoch: int) -> None:
        """Write `epochs/NNNNN.json`: what became of every utterance."""
        self.loader.write_ledger()
        self.world.barrier()
        if self.world.is_main:
            ledger = self.loader.ledger(epoch)
            ledger.save(self.out_dir / "epochs" / f"{epoch:05d}.json")
            for line in ledger.lines():
                logger.info("%s", line)

    def _save(self, step: int, metrics: dict[str, float] | None = None, passing: bool = False) -> None:
        self.loader.write_ledger()
        exact = {name: value for name, value in (metrics or {}).items() if name not in MEASURED}
        self.saver.save(step, exact, passing, self.epoch_start)
        self.saved_step = step
        self.watchdog.progress(f"the checkpoint of step {step}")

    def _preempt(self, step: int, meter: Meter) -> NoReturn:
        window.save(self.out_dir / "window", step, meter, self.world)
        if self.saved_step != step:
            self._save(step, passing=True)
        self.saver.wait()
        self.world.barrier()
        reason = self.stop.signal_name or "another rank"
        logger.warning("preempted step=%d signal=%s: saved; the same command goes on from here", step, reason)
        raise preemption.Preempted(step)


def _target_weight(batch: Batch) -> float:
    is_target = batch.labels != IGNORED
    return float(is_target.sum() if batch.weights is None else batch.weights[is_target].sum())
