"""Stage 5: decode the test sets in every task, with their own audio and with another utterance's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from osum import config, dist, log, outputs
from osum.data.drops import Drops
from osum.data.index import Index
from osum.eval import hypotheses
from osum.eval.hypotheses import HypothesisSet

if TYPE_CHECKING:
    from osum.eval.decode import Decoder
    from osum.model.speech_llm import SpeechLLM

logger = log.get(__name__)


@dataclass
class DecodeConfig:
    """Decode test sets with a trained speech-understanding language model."""

    model_dir: Path
    """Folder of stage 4."""
    shards_dir: Path
    """Folder of stage 2."""
    out_dir: Path
    """Folder of the hypotheses."""
    test_sets: list[str] = field(default_factory=lambda: ["test"])
    """Splits of the shards folder."""
    tasks: list[str] | None = None
    """Tasks to decode; null for all that the model was trained in."""
    max_utts: int | None = None
    """Utterances per test set and task, spread evenly; null for all."""
    swapped: bool = True
    """Decode a second time with the audio of other utterances: what remains right was not heard."""
    batch_size: int = 32
    """Utterances decoded together; > 0."""
    num_beams: int = 1
    """Beams; 1 is greedy."""
    max_new_tokens: int = 200
    """Longest hypothesis, tokens."""
    average: int = 1
    """Use the mean of the parameters of so many last checkpoints; 1 takes the final model."""
    seed: int = 777
    """Of the swap."""
    max_defect_rate: float = 0.01
    """Share of unreadable utterances that stops the stage."""
    overwrite: bool = False
    """Decode again although the folder is up to date."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        for name in ("batch_size", "num_beams", "max_new_tokens", "average"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


def main(argv: list[str] | None = None) -> None:
    """Parse the options and decode; does nothing if the folder is up to date."""
    cfg = config.load(DecodeConfig, argv)
    with outputs.output_dir(cfg.out_dir, cfg, [cfg.model_dir, cfg.shards_dir], cfg.overwrite) as out:
        if out is not None:
            run(cfg, out)


def run(cfg: DecodeConfig, out: Path) -> None:
    """Decode every task of every test set into `out`."""
    # Here and not above: a rerun that has nothing to do need not wait for torch.
    from osum.eval.decode import Decoder
    from osum.model.folder import TOKENIZER, load_sulm
    from osum.text import tokenizer as text_tokenizer

    model, record = load_sulm(cfg.model_dir)
    if cfg.average > 1:
        _use_average(model, cfg)
    names = list(record.prompts) if cfg.tasks is None else cfg.tasks
    untrained = [name for name in names if name not in record.prompts]
    if untrained:
        raise ValueError(f"{cfg.model_dir} was not trained in {untrained}; it knows {list(record.prompts)}")
    tokenizer = text_tokenizer.load(cfg.model_dir / TOKENIZER)
    with dist.world() as world:
        decoder = Decoder(model, tokenizer, record.prompts, world.device, cfg.batch_size, cfg.num_beams)
        drops = Drops()
        for test_set in cfg.test_sets:
            index = Index.open(cfg.shards_dir / test_set)
            for task in names:
                decode_task(cfg, out, decoder, index, test_set, task, drops)
    drops.settle(out, cfg.out_dir, cfg.max_defect_rate)


def decode_task(
    cfg: DecodeConfig, out: Path, decoder: Decoder, index: Index, test_set: str, task: str, drops: Drops
) -> None:
    """Decode one task of one test set, twice if swapped audio is wanted."""
    from osum.eval.decode import rows_of

    rows = rows_of(index, task, cfg.max_utts)
    if not rows:
        logger.warning("decode test_set=%s task=%s: no utterance serves it", test_set, task)
        return
    for seed in [None, cfg.seed] if cfg.swapped and len(rows) > 1 else [None]:
        dropped_before = drops.num_dropped
        written = decoder.decode(index, task, rows, cfg.max_new_tokens, drops, seed)
        done = HypothesisSet(test_set, task, seed is not None, tuple(written))
        path = hypotheses.write(out, done, expected=len(rows) - (drops.num_dropped - dropped_before))
        logger.info("decode test_set=%s task=%s utts=%d file=%s", test_set, task, len(written), path.name)


def _use_average(model: SpeechLLM, cfg: DecodeConfig) -> None:
    from osum.model.store import average, fill
    from osum.train import checkpoint

    found = checkpoint.existing(cfg.model_dir / "checkpoints")[-cfg.average :]
    if len(found) < cfg.average:
        raise ValueError(f"{cfg.model_dir}: {len(found)} checkpoints, not {cfg.average}; raise train.keep_checkpoints")
    fill(model, average([p / "model.safetensors" for p in found]), str(cfg.model_dir), checkpoint.EVERYTHING_FROZEN)


if __name__ == "__main__":
    log.run_main(main)
