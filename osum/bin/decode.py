"""Stage 5: decode the test sets in every task, with their own audio and with another utterance's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from osum import config, dist, log, parts
from osum.data.drops import Drops
from osum.data.store.index import Index
from osum.eval import hypotheses
from osum.eval.configs import DecodingConfig
from osum.eval.hypotheses import HypothesisSet
from osum.eval.parts import join_hypotheses, share

if TYPE_CHECKING:
    from osum.eval.decode import Decoder
    from osum.eval.requests import Request
    from osum.model.speech_llm import SpeechLLM

logger = log.get(__name__)


@dataclass(kw_only=True)
class DecodeConfig(DecodingConfig):
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
    average: int = 1
    """Use the mean of the parameters of so many last checkpoints; 1 takes the final model."""
    seed: int = 777
    """Of the swap."""
    max_defect_rate: float = 0.01
    """Share of unreadable utterances that stops the stage."""
    num_parts: int = 1
    """Parts to decode side by side, each by its own process; their number changes no text."""
    part: int | None = None
    """Decode this part alone, from 1 to `num_parts`, to a folder beside `out_dir`; null puts all parts together."""
    overwrite: bool = False
    """Decode again although the folder is up to date."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        super().__post_init__()
        if self.average < 1:
            raise ValueError(f"average is {self.average}; it must be at least 1")
        parts.check(self.num_parts, self.part)

    @property
    def inputs(self) -> list[Path]:
        """Return the folders that the hypotheses are made from."""
        return [self.model_dir, self.shards_dir]


def main(argv: list[str] | None = None) -> None:
    """Parse the options and decode; does nothing if the folder is up to date."""
    cfg = config.load(DecodeConfig, argv)
    parts.make(cfg, run, run if cfg.num_parts == 1 else join)


def join(cfg: DecodeConfig, out: Path) -> None:
    """Put all parts together in `out`. ValueError naming one that is missing."""
    drops = join_hypotheses(parts.finished(cfg), cfg.shards_dir, out)
    drops.settle(out, cfg.out_dir, cfg.max_defect_rate)


def run(cfg: DecodeConfig, out: Path) -> None:
    """Decode every task of every test set into `out`."""
    # Here and not above: a rerun that has nothing to do need not wait for torch.
    from osum.eval.decode import Decoder
    from osum.eval.speech_model import load

    with dist.world() as world:
        speech_model = load(cfg.model_dir, world.device, cfg.precision)
        if cfg.average > 1:
            _use_average(speech_model.model, cfg)
        known = list(speech_model.prompts)
        names = known if cfg.tasks is None else cfg.tasks
        untrained = [name for name in (*names, *cfg.task_max_new_tokens) if name not in known]
        if untrained:
            raise ValueError(f"{cfg.model_dir} was not trained in {untrained}; it knows {known}")
        decoder, drops = Decoder(speech_model, cfg), Drops()
        for test_set in cfg.test_sets:
            decode_test_set(cfg, out, decoder, test_set, names, drops)
    if cfg.num_parts > 1:
        drops.save(out / "drops.json")  # whether they are too many is asked of all parts together
    else:
        drops.settle(out, cfg.out_dir, cfg.max_defect_rate)


def decode_test_set(
    cfg: DecodeConfig, out: Path, decoder: Decoder, test_set: str, names: Sequence[str], drops: Drops
) -> None:
    """Decode all tasks of one test set together, and write a file for each task and kind of audio."""
    index = Index.open(cfg.shards_dir / test_set)
    asked = requests_of(cfg, index, test_set, names)
    if cfg.part is not None:
        asked = share(index, asked, cfg.part, cfg.num_parts)
    found = iter(decoder.decode(index, [request for of_file in asked.values() for request in of_file], drops))
    for (task, is_swapped), requests in asked.items():
        written = tuple(h for h in islice(found, len(requests)) if h is not None)
        path = hypotheses.write(out, HypothesisSet(test_set, task, is_swapped, written), expected=len(written))
        logger.info(
            "decode test_set=%s task=%s utts=%d truncated=%d repeated=%d file=%s",
            *(test_set, task, len(written)),
            *(sum(h.truncated for h in written), sum(h.repeated for h in written), path.name),
        )


def requests_of(
    cfg: DecodeConfig, index: Index, test_set: str, names: Sequence[str]
) -> dict[tuple[str, bool], list[Request]]:
    """Return what is asked of a test set: a list for each task, and one with swapped audio if that is wanted."""
    from osum.eval.requests import plain, rows_of, swapped

    asked = {}
    for task in names:
        rows = rows_of(index, task, cfg.max_utts)
        if not rows:
            logger.warning("decode test_set=%s task=%s: no utterance serves it", test_set, task)
            continue
        asked[task, False] = plain(rows, task)
        if cfg.swapped and len(rows) > 1:
            asked[task, True] = swapped(rows, task, cfg.seed)
    return asked


def _use_average(model: SpeechLLM, cfg: DecodeConfig) -> None:
    from osum.model.store import fill
    from osum.train import checkpoint

    found = checkpoint.existing(cfg.model_dir / "checkpoints")[-cfg.average :]
    if len(found) < cfg.average:
        raise ValueError(f"{cfg.model_dir}: {len(found)} checkpoints, not {cfg.average}; raise train.keep_checkpoints")
    fill(model, checkpoint.average(found), str(cfg.model_dir), checkpoint.EVERYTHING_FROZEN)


if __name__ == "__main__":
    log.run_main(main)
