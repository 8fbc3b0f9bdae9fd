"""What the model that is being trained writes about a few utterances of the dev set, at each validation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from osum import log
from osum.data.load.collate import collate_prefixes
from osum.dist import World
from osum.model.ending import Generated, StopRules
from osum.model.generate import generate
from osum.model.precision import autocast
from osum.text.template import Template
from osum.train.board import Board
from osum.train.configs import TrainConfig
from osum.train.meters import MetricsFile
from osum.types import Example

MAX_TOKENS, SPARE_TOKENS = 200, 20
"""A text ends after so many tokens in all, and so many more than its reference has."""
BATCH_SIZE = 16
"""Utterances that are written about together."""

logger = log.get(__name__)


@dataclass(frozen=True)
class Chosen:
    """The utterances, the same ones each time, and how they become tokens."""

    examples: Sequence[Example]
    template: Template


class ExampleWriter:
    """Appends to `examples.jsonl`, log and board; draws nothing, and changes no more of the model than its mode."""

    def __init__(
        self, chosen: Chosen | None, cfg: TrainConfig, world: World, path: Path, start_step: int, board: Board | None
    ) -> None:
        """The main process writes, if utterances were chosen. Lines after `start_step` are taken back."""
        self._chosen, self._cfg, self._device, self._board = None, cfg, world.device, board
        if chosen is None or not chosen.examples or not world.is_main:
            return
        if cfg.compute.parallel == "fsdp" and world.size > 1:
            logger.warning("train.num_valid_examples: no examples; one process can't write with its shard of the model")
            return
        self._chosen, self._file = chosen, MetricsFile(path, start_step)

    def write(self, model: nn.Module, step: int) -> None:
        """Have the model write after so many steps. It is left in evaluation mode."""
        if self._chosen is None:
            return
        for example, written in zip(self._chosen.examples, self._written_by(model.eval()), strict=True):
            hypothesis = self._chosen.template.text(written.ids)
            about = {"task": example.task, "key": example.key}
            texts = {"reference": example.target, "hypothesis": hypothesis}
            self._file.write(step=step, **about, **texts, truncated=written.truncated)
            if self._board is not None:
                self._board.write_texts(f"dev/{example.task}/{example.key}", step, texts)
            what = "dev step=%d task=%s key=%s reference=%r hypothesis=%r"
            logger.info(what, step, example.task, example.key, example.target, hypothesis)

    def _written_by(self, model: nn.Module) -> list[Generated]:
        examples, template = self._chosen.examples, self._chosen.template
        rules, found = StopRules(frozenset([template.eos_id])), []
        with autocast(self._device, self._cfg.precision), self._uncompiled():
            for start in range(0, len(examples), BATCH_SIZE):
                batch = examples[start : start + BATCH_SIZE]
                prefixes = collate_prefixes(batch, template).to(self._device)
                limits = [min(MAX_TOKENS, len(template.target_ids(e.target)) + SPARE_TOKENS) for e in batch]
                found += generate(model, prefixes, limits, rules)
        return found

    def _uncompiled(self) -> AbstractContextManager:
        # Each shape of the cache would be compiled anew, until torch gives up on the layers, in training as well.
        return torch.compiler.set_stance("force_eager") if self._cfg.compute.compile else nullcontext()
