r"""Look into an index: hours per corpus, task and language, lengths, balance of labels; or one utterance by its key.

In egs/osum, for example:

    python -m osum.bin.inspect --index_dir data/mini/shards/train --out_dir exp/inspect
    python -m osum.bin.inspect --index_dir data/mini/shards/train --out_dir exp/inspect --key KEY \
      --tokenizer_dir data/mini/cuts/tokenizer
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from osum import config, log, outputs, tasks
from osum.audio import io
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.index import Index

if TYPE_CHECKING:
    from osum.text.template import SulmTemplate

logger = log.get(__name__)


@dataclass
class InspectConfig:
    """Show what an index holds, or one utterance as the model sees it."""

    index_dir: Path
    """Folder of a split, of the shard stage or of `osum.bin.index`."""
    out_dir: Path = Path("exp/inspect")
    """Folder for the picture of lengths, and for the audio of the utterance."""
    key: str | None = None
    """Utterance to show in each of its tasks, and to write as WAV; null: show the index."""
    tasks: list[str] | None = None
    """Tasks to show the utterance in; null: those that it was annotated for."""
    prompts_dir: Path | None = None
    """Prompts; null: osum's own."""
    tokenizer_dir: Path | None = None
    """Tokenizer to show tokens with; null: text only."""
    max_rows: int = 100_000
    """Utterances to read transcripts of, spread evenly; hours, labels and speakers are always counted over all."""

    def __post_init__(self) -> None:
        """ValueError for a task that does not exist, or no rows."""
        for name in self.tasks or ():
            tasks.get(name)
        if self.max_rows < 1:
            raise ValueError(f"max_rows is {self.max_rows}; it must be at least 1")


def show_index(index: Index, cfg: InspectConfig) -> None:
    """Print the overview and draw the histograms."""
    from osum.data import overview
    from osum.eval.plots.histograms import histograms

    found = overview.sample(index, cfg.max_rows)
    print(overview.render(index, found))
    durations_s = index.rows["num_samples"] / SAMPLE_RATE_HZ
    lengths = {
        "duration, s": overview.histogram(durations_s),
        "transcript, Han characters and words": overview.histogram(found.text_lens, whole=True),
    }
    picture = cfg.out_dir / f"{index.folder.name}.lengths.png"
    outputs.atomic_write(picture, histograms(index.folder.name, lengths))
    logger.info("inspect picture=%s", picture)


def show_utterance(index: Index, cfg: InspectConfig, key: str) -> None:
    """Print one utterance in each task, and write its audio. ValueError if there is none of this key."""
    from osum.data.examples import Dropped, compose, prompts_for
    from osum.data.showing import file_name, spell

    row = index.find(key)
    utterance, audio = index.utterance(row), index.audio(row)
    names = list(utterance.tasks) if cfg.tasks is None else cfg.tasks
    wav = cfg.out_dir / f"{file_name(key)}.wav"
    outputs.atomic_write(wav, io.encode(audio, "wav"))
    for name, value in utterance.to_json().items():
        print(f"{name}: {value}")
    print(f"audio: {wav} ({len(audio) / SAMPLE_RATE_HZ:.2f} s)")
    prompts = tasks.load_prompts(cfg.prompts_dir, names)
    to_tokens = None if cfg.tokenizer_dir is None else _template(cfg.tokenizer_dir)
    for name in names:
        example = compose(utterance, audio, name, {name: tasks.get(name)}, prompts)
        if isinstance(example, Dropped):
            print(f"\n{name}: {example.reason}")
            continue
        num_prompts = len(prompts_for(prompts, name, utterance.language))
        print(f"\n{name}\n  prompt: {example.prompt} (1 of {num_prompts})\n  target: {example.target}")
        if to_tokens is not None:
            print(f"  tokens: {spell(example, *to_tokens)}")


def _template(tokenizer_dir: Path) -> tuple[SulmTemplate, Callable[[int], str]]:
    """Return the template of the paper's model, and what writes a token."""
    from osum.text import tokenizer as tokenizers
    from osum.text.template import SulmTemplate

    tokenizer = tokenizers.load(tokenizer_dir)

    def token(number: int) -> str:
        text = tokenizer.decode([number])
        # A token may be some of the bytes of a character.
        return tokenizer.convert_ids_to_tokens(number) if "\ufffd" in text else text

    return SulmTemplate(tokenizer), token


def main(argv: list[str] | None = None) -> None:
    """Show the index, or one utterance of it."""
    cfg = config.load(InspectConfig, argv)
    index = Index.open(cfg.index_dir)
    if cfg.key is None:
        show_index(index, cfg)
    else:
        show_utterance(index, cfg, cfg.key)


if __name__ == "__main__":
    log.run_main(main)
