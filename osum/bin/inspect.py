r"""Look into an index: hours per corpus, task and language, lengths, balance of labels; or one utterance by its key.

In egs/osum, for example:

    python -m osum.bin.inspect --index_dir data/mini/shards/train --out_dir exp/inspect
    python -m osum.bin.inspect --index_dir data/mini/shards/train --out_dir exp/inspect --key KEY \
      --tokenizer_dir data/mini/cuts/tokenizer
    python -m osum.bin.inspect --index_dir data/mini/shards/train --out_dir exp/inspect --key KEY \
      --model_dir exp/mini --play true
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from osum import config, log, outputs, tasks
from osum.audio import io
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.audio.play import play
from osum.data.store.index import Index
from osum.text.configs import PAPER, TemplateConfig
from osum.types import Example, Utterance

if TYPE_CHECKING:
    import numpy as np

    from osum.data.examples import Prompts

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
    model_dir: Path | None = None
    """Experiment or model whose prompts, template and tokenizer are used; null: those of the options below."""
    prompts_dir: Path | None = None
    """Prompts; null: osum's own."""
    tokenizer_dir: Path | None = None
    """Tokenizer to show tokens with, in the template of the paper's model; null: text only."""
    play: bool = False
    """Play the utterance: with aplay, paplay, ffplay, play or afplay."""
    max_rows: int = 100_000
    """Utterances to read transcripts of, spread evenly; hours, labels and speakers are always counted over all."""

    def __post_init__(self) -> None:
        """ValueError for a task that does not exist, no rows, or options that exclude each other."""
        for name in self.tasks or ():
            tasks.get(name)
        if self.max_rows < 1:
            raise ValueError(f"max_rows is {self.max_rows}; it must be at least 1")
        if self.model_dir is not None and (self.prompts_dir is not None or self.tokenizer_dir is not None):
            raise ValueError("model_dir has prompts and a tokenizer; leave out prompts_dir and tokenizer_dir")
        if self.key is None and (self.play or self.model_dir is not None):
            raise ValueError("play and model_dir are about one utterance; give its key")


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


@dataclass(frozen=True)
class View:
    """What a model makes of an utterance."""

    prompts: Prompts
    spell: Callable[[Example], str] | None
    """Writes an example token by token; None without a tokenizer."""


def show_utterance(index: Index, cfg: InspectConfig, key: str) -> None:
    """Print one utterance in each task, and write its audio. ValueError if there is none of this key.

    OSError if it is to be played and can't be.
    """
    from osum.data.showing import file_name

    row = index.find(key)
    utterance, audio = index.utterance(row), index.audio(row)
    names = list(utterance.tasks) if cfg.tasks is None else cfg.tasks
    wav = cfg.out_dir / f"{file_name(key)}.wav"
    outputs.atomic_write(wav, io.encode(audio, "wav"))
    for name, value in utterance.to_json().items():
        print(f"{name}: {value}")
    print(f"audio: {wav} ({len(audio) / SAMPLE_RATE_HZ:.2f} s)")
    view = view_of(cfg, names)
    for name in names:
        print(f"\n{name}{_in_task(utterance, audio, name, view)}")
    if cfg.play:
        logger.info("inspect played=%s player=%s", wav, play(wav))


def view_of(cfg: InspectConfig, names: Sequence[str]) -> View:
    """Return how the configured model sees utterances in some tasks. ValueError or OSError if it can't be read."""
    if cfg.model_dir is not None:
        from osum.model.folder import RECORD, SulmRecord, find_sulm, tokenizer_of

        folder = find_sulm(cfg.model_dir)
        record = config.read(SulmRecord, folder / RECORD)
        return View(record.prompts, _spelling(tokenizer_of(folder), record.template))
    spell = None if cfg.tokenizer_dir is None else _spelling(cfg.tokenizer_dir, PAPER)
    return View(tasks.load_prompts(cfg.prompts_dir, names), spell)


def _in_task(utterance: Utterance, audio: np.ndarray, name: str, view: View) -> str:
    from osum.data.examples import Dropped, compose, prompts_for

    if name not in view.prompts:
        return f": not a task of this model; it knows {', '.join(view.prompts)}"
    example = compose(utterance, audio, name, {name: tasks.get(name)}, view.prompts)
    if isinstance(example, Dropped):
        return f": {example.reason}"
    num_prompts = len(prompts_for(view.prompts, name, utterance.language))
    text = f"\n  prompt: {example.prompt} (1 of {num_prompts})\n  target: {example.target}"
    return text if view.spell is None else f"{text}\n  tokens: {view.spell(example)}"


def _spelling(tokenizer_dir: Path, cfg: TemplateConfig) -> Callable[[Example], str]:
    from osum.data.showing import spell
    from osum.text import tokenizer as tokenizers
    from osum.text.template import SulmTemplate

    tokenizer = tokenizers.load(tokenizer_dir)

    def token(number: int) -> str:
        text = tokenizer.decode([number])
        # A token may be some of the bytes of a character.
        return tokenizer.convert_ids_to_tokens(number) if "\ufffd" in text else text

    return partial(spell, template=SulmTemplate(tokenizer, cfg=cfg), token=token)


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
