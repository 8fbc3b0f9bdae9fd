"""From plan to batches: workers read, decode and collate; what they are given decides everything they return.

The plan lives in the main process and workers get packs, so neither their number nor the number of ranks can change a
batch. Position in the stream is the number of the optimizer step and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from osum import log
from osum.data.examples import Dropped, Item, Prompts, TargetTask, make_example
from osum.data.load.collate import Units, collate, placeholder
from osum.data.load.ledger import EpochLedger, check_defects, epoch_ledger, summary
from osum.data.load.ledger_file import LedgerFile
from osum.data.load.pack import LoadedPack, Noted, Pack
from osum.data.load.workers import load_in_order
from osum.data.plan.config import PlanConfig
from osum.data.plan.lengths import Lengths
from osum.data.plan.planner import EpochPlan, EvalPlan, Planner
from osum.data.store.index import Index
from osum.rng import rng_for
from osum.text.template import Template
from osum.types import Batch, Example

AudioAugment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Audio (num_samples,) and the generator of its utterance -> audio of the same length.

ValueError where it can't: the utterance is then used as it is.
"""

logger = log.get(__name__)


class EpochStart(NamedTuple):
    """Where an epoch begins: kept with a checkpoint, it saves counting the steps of the epochs before."""

    epoch: int
    step: int
    """Number of its first step since the start of training."""
    plan: str = ""
    """`Planner.identity` of the plan for which this holds; "" if for any."""


FIRST_EPOCH = EpochStart(0, 0)


@dataclass(frozen=True)
class Step:
    """One optimizer step of one rank."""

    step: int
    """Number since the start of training."""
    epoch: int
    step_in_epoch: int
    steps_in_epoch: int
    batches: list[Batch]
    """One per micro-step; as many on every rank."""
    dropped: list[Dropped]
    plan: str = ""
    """`Planner.identity`; "" for steps that are not of a plan."""

    @property
    def epoch_start(self) -> EpochStart:
        """Return what to keep with a checkpoint after this step: where the epoch of the next step begins."""
        if self.step_in_epoch + 1 == self.steps_in_epoch:
            return EpochStart(self.epoch + 1, self.step + 1, self.plan)
        return EpochStart(self.epoch, self.step - self.step_in_epoch, self.plan)


class PackDataset(Dataset):
    """Packs in, batches out: all that a worker knows."""

    def __init__(
        self,
        index: Index,
        tasks: Mapping[str, TargetTask],
        prompts: Prompts,
        template: Template,
        units: Units | None = None,
        augment: AudioAugment | None = None,
        seed: int = 0,
    ) -> None:
        """`augment` gets a generator keyed by (seed, epoch, copy, key of the utterance)."""
        self.index, self.tasks, self.prompts = index, tasks, prompts
        self.template, self.units = template, units
        self._augment, self._seed = augment, seed

    def __getitem__(self, pack: Pack) -> LoadedPack:
        """Read a pack. Damaged utterances are left out and listed; a pack of nothing else becomes a placeholder."""
        noted: list[Noted] = []
        made = [self._example(item, pack.epoch, noted) for item in pack.items]
        dropped = [e for e in made if isinstance(e, Dropped)]
        examples = [e for e in made if not isinstance(e, Dropped)]
        if not examples:
            return LoadedPack(self.placeholder(), dropped, noted=noted)
        return LoadedPack(collate(examples, self.template, self.units), dropped, noted=noted)

    def placeholder(self) -> Batch:
        """Return what stands for a pack without utterances."""
        return placeholder(self.template, next(iter(self.tasks)), self.units)

    def _example(self, item: Item, epoch: int, noted: list[Noted]) -> Example | Dropped:
        """Make one example; adds to `noted` if its audio could not be augmented."""
        if self._augment is None:
            return make_example(self.index, item, self.tasks, self.prompts)
        key = self.index.key(item.row)
        rng = rng_for(self._seed, epoch, item.copy, key)

        def augmented(audio: np.ndarray) -> np.ndarray:
            try:
                return self._augment(audio, rng)
            except ValueError as err:
                noted.append(Noted(key, item.task, f"not augmented: {err}"))
                return audio

        return make_example(self.index, item, self.tasks, self.prompts, augmented)


def load_packs(
    dataset: PackDataset, packs: Iterable[Pack], num_workers: int = 0, pin_memory: bool = False
) -> Iterator[LoadedPack]:
    """Yield the packs loaded, in order. An utterance that workers die of is dropped as `worker_died`.

    OSError if nothing comes for long, or workers die whatever they load.
    """
    for pack, loaded in load_in_order(dataset, packs, num_workers, pin_memory):
        loaded = loaded or _without_fatal(dataset, pack, pin_memory)
        yield replace(loaded, items=pack.items)


def _without_fatal(dataset: PackDataset, pack: Pack, pin_memory: bool) -> LoadedPack:
    """Load a pack without the utterances that workers die of; each is tried alone."""
    each = load_in_order(dataset, [Pack(pack.epoch, [item]) for item in pack.items], 1, pin_memory)
    fatal = [alone.items[0] for alone, loaded in each if loaded is None]
    if len(fatal) == len(pack.items) > 1:
        raise OSError("worker processes die whatever they load. Is memory short? Lower num_workers, then start again")
    good = [item for item in pack.items if item not in fatal]
    ((_, loaded),) = load_in_order(dataset, [Pack(pack.epoch, good)], 1, pin_memory)
    if loaded is None:  # none alone, but all together
        loaded, fatal = LoadedPack(dataset.placeholder(), []), pack.items
    died = [Dropped.item(dataset.index, item, "worker_died") for item in fatal]
    return replace(loaded, dropped=loaded.dropped + died)


class TrainLoader:
    """The endless stream of optimizer steps of one rank, from any step on."""

    def __init__(
        self,
        dataset: PackDataset,
        lengths: Lengths,
        cfg: PlanConfig,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        ledger_dir: Path | None = None,
        max_defect_rate: float = 1.0,
    ) -> None:
        """What becomes of the utterances of each rank is noted in `ledger_dir`.

        `max_defect_rate` of them may be unusable: an epoch is judged by its ledger, and what is beyond half at once.
        """
        self._dataset, self._planner = dataset, Planner(dataset.index, lengths, cfg, seed)
        self._rank, self._world_size = rank, world_size
        self._num_workers, self._pin_memory = num_workers, pin_memory
        self._ledger = LedgerFile(ledger_dir, rank, world_size, self._planner.identity)
        self._max_defect_rate, self._num_planned, self._num_dropped = max_defect_rate, 0, 0
        # Workers prefetch across the end of an epoch while the main process is still in it: two plans are in use.
        self.plan = lru_cache(maxsize=2)(self._plan)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks by number."""
        return self._planner.lengths.tasks

    def steps(self, start: int = 0, known: EpochStart = FIRST_EPOCH) -> Iterator[Step]:
        """Yield steps from number `start` on, without end; `known` is where any epoch up to there begins."""
        known = self._of_this_plan(known)
        self._ledger.go_on(*self.locate(start, known))
        loaded = load_packs(self._dataset, self._packs(start, known), self._num_workers, self._pin_memory)
        for number, epoch, step in self._positions(start, known):
            packs = [next(loaded) for _ in self._pack_numbers(epoch, step)]
            dropped = [d for p in packs for d in p.dropped]
            self._note(epoch, step, packs)
            batches, num_steps = [p.batch for p in packs], self.plan(epoch).num_steps
            yield Step(number, epoch, step, num_steps, batches, dropped, self._planner.identity)

    def locate(self, number: int, known: EpochStart = FIRST_EPOCH) -> tuple[int, int]:
        """Return the epoch of a step and its number in that epoch, counted from an epoch that begins no later."""
        assert known.step <= number, (known, number)
        epoch, number = known.epoch, number - known.step
        while number >= self.plan(epoch).num_steps:
            number -= self.plan(epoch).num_steps
            epoch += 1
        return epoch, number

    def write_ledger(self) -> None:
        """Write down what became of the utterances so far: before a checkpoint, and at the end of an epoch."""
        self._ledger.write()

    def ledger(self, epoch: int) -> EpochLedger:
        """Account for a finished epoch, of which all ranks have written.

        ValueError if it does not add up, or if too many utterances were dropped.
        """
        found = epoch_ledger(self._dataset.index, self.plan(epoch), epoch, self._ledger.entries(epoch))
        found.check_defects(self._max_defect_rate)
        return found

    def _of_this_plan(self, known: EpochStart) -> EpochStart:
        if known.plan in ("", self._planner.identity):
            return known
        logger.warning("plan changed since the checkpoint: epochs are counted anew, from the first")
        return FIRST_EPOCH

    def _plan(self, epoch: int) -> EpochPlan:
        planned = self._planner.epoch(epoch)
        logger.info("plan epoch=%d %s", epoch, summary(self._planner, planned))
        return planned

    def _positions(self, start: int, known: EpochStart) -> Iterator[tuple[int, int, int]]:
        epoch, step = self.locate(start, known)
        number = start
        while True:
            for s in range(step, self.plan(epoch).num_steps):
                yield number, epoch, s
                number += 1
            epoch, step = epoch + 1, 0

    def _packs(self, start: int, known: EpochStart) -> Iterator[Pack]:
        for _, epoch, step in self._positions(start, known):
            for number in self._pack_numbers(epoch, step):
                yield Pack(epoch, self.plan(epoch).pack(step, number) if number is not None else [])

    def _pack_numbers(self, epoch: int, step: int) -> list[int | None]:
        return virtual_ranks(self.plan(epoch).num_packs(step), self._rank, self._world_size)

    def _note(self, epoch: int, step: int, packs: list[LoadedPack]) -> None:
        index, where = self._dataset.index, f"epoch={epoch} step={step}"
        dropped, noted = [d for p in packs for d in p.dropped], [n for p in packs for n in p.noted]
        for d in dropped:
            logger.warning("data skip %s utterance=%s task=%s reason=%s", where, d.key, d.task, d.reason)
        for n in noted:
            logger.warning("data note %s utterance=%s task=%s remark=%s", where, n.key, n.task, n.remark)
        planned = Counter((index.corpus(item.row), item.task) for p in packs for item in p.items)
        used = Counter(pair for p in packs for pair in trained_pairs(p.batch))
        self._ledger.add(epoch, step, planned, used, dropped, [(n.key, n.remark) for n in noted])
        self._num_planned += planned.total()
        self._num_dropped += len(dropped)
        check_defects(self._num_dropped, self._num_planned, max(0.5, self._max_defect_rate), f"up to step {step}")


def trained_pairs(batch: Batch) -> Iterator[tuple[str, str]]:
    """Yield corpus and task of each utterance of a batch; a placeholder has none."""
    return ((c, t) for k, c, t in zip(batch.keys, batch.corpora, batch.tasks, strict=True) if k)


def virtual_ranks(num_virtual: int, rank: int, world_size: int) -> list[int | None]:
    """Return the virtual ranks that a rank serves: r, r + W, ...; None where it must keep step with an empty pack."""
    served = list(range(rank, num_virtual, world_size))
    return served + [None] * (-(-num_virtual // world_size) - len(served))


def eval_batches(
    dataset: PackDataset, planned: EvalPlan, rank: int = 0, world_size: int = 1, num_workers: int = 0
) -> Iterator[LoadedPack]:
    """Yield the packs of an evaluation plan that fall to this rank, as many on every rank."""
    ranks = virtual_ranks(planned.virtual_ranks, rank, world_size)
    steps = range(planned.num_steps)
    packs = (Pack(0, planned.pack(s, v) if v is not None else []) for s in steps for v in ranks)
    return load_packs(dataset, packs, num_workers)
