"""Trainers of the tiny model on the tiny shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from osum.data.plan.config import PlanConfig
from osum.dist import World
from osum.model.folder import SulmRecord
from osum.text.template import SulmTemplate
from osum.train.configs import CorpusConfig, OptimConfig, TrainConfig
from osum.train.corpus import Corpus, load_units
from osum.train.trainer import Trainer

MakeTrainer = Callable[..., Trainer]


def train_config(**changes) -> TrainConfig:
    """Six steps; a line, a validation and a checkpoint at different steps."""
    optim = OptimConfig(lr=1e-3, muon_lr=2e-3, warmup_steps=2, schedule="cosine")
    defaults = {"max_steps": 6, "log_every": 2, "valid_every": 6, "save_every": 3, "ctc_weight": 0.3, "optim": optim}
    defaults["num_valid_examples"] = 0
    return TrainConfig(**{**defaults, **changes})


@pytest.fixture
def make_corpus(bpe, tokenizer_dir, shards_dir, tmp_path) -> Callable[..., Corpus]:
    def make(shards: Path = shards_dir, num_workers: int = 0) -> Corpus:
        plan = PlanConfig(virtual_ranks=2, max_tokens=300, max_audio_s=3.0)
        cfg = CorpusConfig(["asr", "sgc"], plan=plan, num_workers=num_workers)
        return Corpus(shards, cfg, SulmTemplate(bpe), load_units(tokenizer_dir), 1, tmp_path / "cache")

    return make


@pytest.fixture
def frozen_encoder_record(sulm_record) -> SulmRecord:
    """`sulm_record` with an encoder that is not trained."""
    return replace(sulm_record, model=replace(sulm_record.model, freeze=["^encoder"]))


@pytest.fixture
def make_trainer(sulm_record, make_corpus, tmp_path) -> MakeTrainer:
    """`make_trainer("a", max_steps=3)` -> a trainer in the folder `a`, going on where the folder stands."""

    def make(
        name: str, shards: Path | None = None, num_workers: int = 0, record: SulmRecord = sulm_record, **changes
    ) -> Trainer:
        out, world = tmp_path / name, World(0, 1, 0)
        out.mkdir(exist_ok=True)
        corpus = make_corpus(num_workers=num_workers) if shards is None else make_corpus(shards)
        torch.manual_seed(7)
        loader, valid, cfg = corpus.loader(world, out), corpus.valid_packs(world), train_config(**changes)
        return Trainer(record.build(), loader, valid, cfg, world, out, corpus.valid_examples(cfg.num_valid_examples))

    return make
