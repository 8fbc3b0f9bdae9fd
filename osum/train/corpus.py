"""The data of a training stage: shards, tokenizer, tasks and prompts opened and joined for one rank."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, product
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from osum import dist, tasks
from osum.data import licences
from osum.data.examples import make_example
from osum.data.load import augmentation
from osum.data.load.loader import AudioAugment, PackDataset, TrainLoader, eval_batches
from osum.data.load.pack import LoadedPack
from osum.data.plan import lengths
from osum.data.plan.planner import EvalPlan, plan_eval
from osum.data.store.index import Index
from osum.text import tokenizer as text_tokenizer
from osum.text.template import Template
from osum.text.units import CtcUnits
from osum.train.configs import CorpusConfig
from osum.train.examples import Chosen
from osum.types import Example


def load_units(tokenizer_dir: Path) -> CtcUnits:
    """Read the CTC units beside a tokenizer."""
    return CtcUnits.load(tokenizer_dir / "units.txt")


class Corpus:
    """Train and dev split of a shards folder, seen through the template of one model."""

    def __init__(
        self,
        shards_dir: Path,
        cfg: CorpusConfig,
        template: Template,
        units: CtcUnits | None,
        seed: int,
        cache_dir: Path,
    ) -> None:
        """Target lengths are cached in `cache_dir`."""
        self._shards_dir, self._cfg, self._seed, self._cache_dir = shards_dir, cfg, seed, cache_dir
        self._tasks = {name: tasks.get(name) for name in cfg.tasks}
        self.prompts = tasks.load_prompts(cfg.prompts_dir, cfg.tasks)
        self._template, self._units = template, units
        self.train = self._dataset(shards_dir / "train", augmentation.build(cfg.augment))
        self.dev = self._dataset(shards_dir / "dev")

    @property
    def licences(self) -> dict[str, str]:
        """Return the corpora that are trained on, with their licences."""
        return licences.read(self._shards_dir, self.train.index.header.corpora)

    def _dataset(self, folder: Path, augment: AudioAugment | None = None) -> PackDataset:
        index = Index.open(folder)
        return PackDataset(index, self._tasks, self.prompts, self._template, self._units, augment, self._seed)

    def _lengths(self, dataset: PackDataset, speeds: Sequence[float] = ()) -> lengths.Lengths:
        num_procs = len(os.sched_getaffinity(0))  # the other ranks of this machine wait meanwhile
        sources = (dataset.index, self._tasks, self.prompts, self._template)
        return lengths.build(*sources, self._cache_dir, num_procs, speeds)

    def loader(self, world: dist.World, ledger_dir: Path) -> TrainLoader:
        """Return this rank's stream of training steps."""
        return TrainLoader(
            self.train,
            self._lengths(self.train, self._cfg.plan.speeds),
            self._cfg.plan,
            self._seed,
            rank=world.rank,
            world_size=world.size,
            num_workers=self._cfg.num_workers,
            pin_memory=world.device.type == "cuda",
            ledger_dir=ledger_dir,
            max_defect_rate=self._cfg.max_defect_rate,
        )

    def valid_packs(self, world: dist.World) -> Callable[[], Iterator[LoadedPack]]:
        """Return a function that goes once through this rank's share of the dev set."""
        return partial(eval_batches, self.dev, self._valid_plan(), world.rank, world.size, self._cfg.num_workers)

    def valid_examples(self, num_per_task: int) -> Chosen:
        """Return so many utterances of each task, spread evenly over those of validation, with their first prompt."""
        planned = self._valid_plan()
        places = product(range(planned.num_steps), range(planned.virtual_ranks))
        items = sorted(chain.from_iterable(planned.pack(*place) for place in places))
        chosen = []
        for task in self._tasks:
            of_task = [item for item in items if item.task == task]
            count = min(num_per_task, len(of_task))
            chosen += [of_task[i * len(of_task) // count] for i in range(count)]
        made = [make_example(self.dev.index, item, self._tasks, self.prompts) for item in chosen]
        return Chosen([e for e in made if isinstance(e, Example)], self._template)

    def _valid_plan(self) -> EvalPlan:
        index = self.dev.index
        stride = max(1, len(index) // self._cfg.max_valid_utts)
        return plan_eval(index, self._lengths(self.dev), self._cfg.plan, range(0, len(index), stride))


def open_tokenizer(tokenizer_dir: Path | str) -> PreTrainedTokenizerBase:
    """Load a tokenizer folder. ValueError if it has no end token."""
    return text_tokenizer.load(tokenizer_dir)
