"""A self-test: a model that can learn anything learns a handful of utterances by heart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from osum.data.examples import Item, make_example
from osum.data.load.collate import collate, collate_prefixes
from osum.data.load.loader import PackDataset, Step
from osum.eval.requests import rows_of
from osum.model.ending import StopRules
from osum.model.generate import generate
from osum.model.precision import autocast
from osum.text.template import IGNORED
from osum.train.meters import Meter
from osum.train.trainer import Trainer
from osum.types import Example


def one_of_each(dataset: PackDataset) -> list[Example]:
    """Return an utterance for each task, with different audio where there is some. ValueError for an unserved task."""
    chosen, used = [], set()
    for task in dataset.tasks:
        rows = rows_of(dataset.index, task, None)
        for row in [r for r in rows if r not in used] or rows:
            example = make_example(dataset.index, Item(row, task, prompt=0), dataset.tasks, dataset.prompts)
            if isinstance(example, Example):
                used.add(row)
                chosen.append(example)
                break
        else:
            raise ValueError(f"no utterance serves the task {task}; leave it out of data.tasks")
    return chosen


def learn(trainer: Trainer, dataset: PackDataset, examples: Sequence[Example], every: int) -> Iterator[tuple[int, int]]:
    """Train on one batch; yield the steps done and the number of targets written exactly, every so many steps.

    Ends with the last step of the trainer's config, or once all targets are written exactly.
    """
    total = trainer.cfg.max_steps
    batch, meter = collate(examples, dataset.template, dataset.units), Meter(trainer.tasks)
    trainer.model.train()
    for done in range(1, total + 1):
        trainer.step(Step(done - 1, 0, done - 1, total, [batch], []), meter)
        if done % every == 0 or done == total:
            num_exact = sum(exact(trainer, dataset, examples))
            trainer.model.train()
            yield done, num_exact
            if num_exact == len(examples):
                return


def exact(trainer: Trainer, dataset: PackDataset, examples: Sequence[Example]) -> list[bool]:
    """Return for each example whether greedy search writes its target token for token, and ends there."""
    batch = collate(examples, dataset.template)
    targets = [part[part != IGNORED].tolist() for part in batch.labels.split(batch.segment_lens.tolist())]
    prefixes = collate_prefixes(examples, dataset.template).to(trainer.world.device)
    rules = StopRules(frozenset([targets[0][-1]]))
    with torch.inference_mode(), autocast(trainer.world.device, trainer.cfg.precision):
        written = generate(trainer.model.eval(), prefixes, [len(t) for t in targets], rules)
    return [w.ids == t[:-1] and not w.truncated for w, t in zip(written, targets, strict=True)]
