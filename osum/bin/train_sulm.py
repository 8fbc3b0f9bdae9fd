"""Stage 4: train the speech-understanding language model with ASR+X on all tasks, from the encoder of stage 3."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from osum import config, dist, log, outputs
from osum.model.configs import SpeechLlmConfig, WhisperSizes
from osum.text.configs import TemplateConfig
from osum.text.template import SulmTemplate
from osum.train import provenance
from osum.train.stage import StageConfig, run_stage

if TYPE_CHECKING:
    from osum.model.folder import SulmRecord
    from osum.model.speech_llm import SpeechLLM
    from osum.train.corpus import Corpus


@dataclass
class TrainSulmConfig(StageConfig):
    """Train the speech-understanding language model on shards."""

    whisper_dir: Path | None = None
    """Folder of stage 3, whose encoder and CTC head are taken over; null starts from `encoder`."""
    encoder: WhisperSizes = field(default_factory=WhisperSizes)
    """The encoder when there is no `whisper_dir`."""
    model: SpeechLlmConfig = field(default_factory=SpeechLlmConfig)
    """Adaptor, LLM, LoRA and what is frozen."""
    template: TemplateConfig = field(default_factory=TemplateConfig)
    """Order and form of prompt, speech and target; decoding uses the same."""


def main(argv: list[str] | None = None) -> None:
    """Parse the options and train; does nothing if the folder holds the finished model."""
    cfg = config.load(TrainSulmConfig, argv)
    run_stage("osum.bin.train_sulm", cfg, argv, (cfg.whisper_dir, cfg.encoder.path, cfg.model.llm.path), run)


def run(cfg: TrainSulmConfig, world: dist.World, out: Path) -> None:
    """Train from the last checkpoint of the folder, or from the start."""
    # Here and not above: a rerun that has nothing to do need not wait for torch.
    from osum.model.convert.card import trained_on
    from osum.model.folder import save_sulm
    from osum.train.trainer import Trainer

    corpus, model, record = assemble(cfg, out / "cache")
    if world.is_main:
        before = {} if cfg.whisper_dir is None else trained_on(cfg.whisper_dir)
        data = {"shards": outputs.input_fingerprint(cfg.shards_dir)}
        provenance.record(out, data, {**before, **corpus.licences})
        config.save(cfg, out / "config.yaml")
    chosen = corpus.valid_examples(cfg.train.num_valid_examples) if world.is_main else None
    Trainer(model, corpus.loader(world, out), corpus.valid_packs(world), cfg.train, world, out, chosen).run()
    if world.is_main:
        save_sulm(out, model, record, cfg.tokenizer_dir)


def assemble(cfg: TrainSulmConfig, cache_dir: Path) -> tuple[Corpus, SpeechLLM, SulmRecord]:
    """Return the data, the model with its initial weights, and how to build it again."""
    import torch

    from osum.model.added_tokens import start_from_spelling
    from osum.model.folder import SulmRecord
    from osum.text import added_tokens
    from osum.train.corpus import Corpus, load_units, open_tokenizer

    tokenizer, units = open_tokenizer(cfg.tokenizer_dir), load_units(cfg.tokenizer_dir)
    num_units = len(units) if cfg.train.ctc_weight else 0
    template = SulmTemplate(tokenizer, cfg.train.tag_weight, cfg.template)
    corpus = Corpus(cfg.shards_dir, cfg.data, template, units if num_units else None, cfg.train.seed, cache_dir)
    torch.manual_seed(cfg.train.seed)
    prompts = {task: {lang: list(p) for lang, p in of_task.items()} for task, of_task in corpus.prompts.items()}
    sizes = (len(tokenizer), template.eos_id, num_units)
    added = added_tokens.load(cfg.tokenizer_dir)
    ids = tokenizer.convert_tokens_to_ids(added)
    model, record = build(cfg, SulmRecord(cfg.encoder, cfg.model, *sizes, prompts, cfg.template, ids))
    if added and cfg.model.llm.path is not None:
        start_from_spelling(model.llm, ids, added_tokens.spelled(tokenizer, added))
    return corpus, model, record


def build(cfg: TrainSulmConfig, record: SulmRecord) -> tuple[SpeechLLM, SulmRecord]:
    """Return the model to train, with the encoder and CTC head of stage 3 if there is one, and its record."""
    if cfg.whisper_dir is None:
        return record.build(cfg.train.precision), record
    from osum.model.folder import load_whisper

    whisper, whisper_record = load_whisper(cfg.whisper_dir)
    record = replace(record, encoder=whisper_record.model)
    model = record.build(cfg.train.precision)
    model.encoder.load_state_dict(whisper.encoder.state_dict())
    if model.ctc_head is not None and whisper.ctc_head is not None:
        model.ctc_head.load_state_dict(whisper.ctc_head.state_dict())
    return model, record


if __name__ == "__main__":
    log.run_main(main)
