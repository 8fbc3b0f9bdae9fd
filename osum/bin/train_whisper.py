"""Stage 3: train a multi-task Whisper (encoder-decoder with task tags and auxiliary CTC), the paper's first step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from osum import config, dist, log, outputs, tasks
from osum.model.configs import WhisperSizes
from osum.text.template import WhisperTemplate
from osum.train import provenance
from osum.train.stage import StageConfig, run_stage

if TYPE_CHECKING:
    from osum.model.folder import WhisperRecord
    from osum.model.whisper import MultitaskWhisper
    from osum.train.corpus import Corpus


@dataclass
class TrainWhisperConfig(StageConfig):
    """Train a multi-task Whisper on shards."""

    tokenizer: str | None = None
    """Tokenizer of a pretrained Whisper, a folder or hub name; null for the one in `tokenizer_dir`."""
    model: WhisperSizes = field(default_factory=WhisperSizes)
    """The model."""


def main(argv: list[str] | None = None) -> None:
    """Parse the options and train; does nothing if the folder holds the finished model."""
    cfg = config.load(TrainWhisperConfig, argv)
    run_stage("osum.bin.train_whisper", cfg, argv, (cfg.model.path, cfg.tokenizer), run)


def run(cfg: TrainWhisperConfig, world: dist.World, out: Path) -> None:
    """Train from the last checkpoint of the folder, or from the start."""
    from osum.model.folder import save_whisper  # here and not above: a rerun with nothing to do need not wait for torch
    from osum.train.corpus import open_tokenizer
    from osum.train.trainer import Trainer

    corpus, model, record = assemble(cfg, out / "cache")
    if world.is_main:
        provenance.record(out, {"shards": outputs.input_fingerprint(cfg.shards_dir)}, corpus.licences)
        config.save(cfg, out / "config.yaml")
    chosen = corpus.valid_examples(cfg.train.num_valid_examples) if world.is_main else None
    Trainer(model, corpus.loader(world, out), corpus.valid_packs(world), cfg.train, world, out, chosen).run()
    if world.is_main:
        save_whisper(out, model, record, open_tokenizer(cfg.tokenizer or cfg.tokenizer_dir))


def assemble(cfg: TrainWhisperConfig, cache_dir: Path) -> tuple[Corpus, MultitaskWhisper, WhisperRecord]:
    """Return the data, the model with its initial weights, and how to build it again."""
    import torch

    from osum.model.folder import WhisperRecord
    from osum.train.corpus import Corpus, load_units, open_tokenizer

    tokenizer, units = open_tokenizer(cfg.tokenizer or cfg.tokenizer_dir), load_units(cfg.tokenizer_dir)
    num_units = len(units) if cfg.train.ctc_weight else 0
    tags = {name: tasks.get(name).tag for name in cfg.data.tasks}
    template = WhisperTemplate(tokenizer, tags, start_ids(cfg.model), cfg.train.tag_weight)
    corpus = Corpus(cfg.shards_dir, cfg.data, template, units if num_units else None, cfg.train.seed, cache_dir)
    record = WhisperRecord(cfg.model, len(tokenizer), num_units)
    torch.manual_seed(cfg.train.seed)
    return corpus, record.build(), record


def start_ids(model: WhisperSizes) -> list[int]:
    """Return what a pretrained Whisper's decoder starts with; a random one starts with the end token."""
    if model.path is None:
        return []
    from transformers import WhisperConfig

    return [WhisperConfig.from_pretrained(model.path).decoder_start_token_id]


if __name__ == "__main__":
    log.run_main(main)
