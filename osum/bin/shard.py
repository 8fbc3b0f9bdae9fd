r"""Stage 2: cuts to WeNet-readable shards with an index.

Alone and with everything in one tar per split, in egs/osum:

    python -m osum.bin.shard --config conf/mini/shard.yaml --out_dir exp/debug/shards --num_shards 1
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from osum import log, parts
from osum.audio.io import AudioFormat
from osum.config import load
from osum.data import licences
from osum.data.drops import Drops

if TYPE_CHECKING:
    from osum.data.corpora.cut_table import CutTable

COPY_NAME = "cuts.jsonl"
"""Plain copy of the cuts in the folder of a split, while its shards are written."""

logger = log.get(__name__)


@dataclass
class ShardConfig:
    """Write cuts as tars that WeNet reads (key.flac|wav, key.txt, key.json), 16 kHz mono 16 bit, and index them."""

    cuts_dir: Path
    """Folder of the annotate stage, with `<split>.jsonl.gz`."""
    out_dir: Path
    """Folder to write `<split>/shard_*.tar` and the index to; `<split>/shards.list` names the tars by this path."""
    splits: list[str] = field(default_factory=list)
    """Splits to write; empty for all that have utterances."""
    shard_size: int = 1000
    """Utterances per tar, on average; > 0. All tars of a split hold equally many seconds, give or take an utterance."""
    num_shards: int | None = None
    """Tars per split instead of `shard_size`; > 0."""
    audio_format: AudioFormat = "flac"
    """Audio members: `flac` is half the size, `wav` is faster to read."""
    max_defect_rate: float = 0.01
    """Share of utterances with unreadable audio, from 0 to 1, above which the stage stops."""
    num_procs: int = 1
    """Processes that write; the output does not depend on it."""
    num_parts: int = 1
    """Parts to write side by side, each by its own command; the output does not depend on it."""
    part: int | None = None
    """Write this part of the tars alone, from 1 to `num_parts`, to a folder beside `out_dir`; null for all."""
    overwrite: bool = False
    """Replace an output that was made with other settings."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        for name in ("shard_size", "num_procs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.num_shards is not None and self.num_shards < 1:
            raise ValueError(f"num_shards is {self.num_shards}; it must be at least 1")
        if not 0 <= self.max_defect_rate <= 1:
            raise ValueError(f"max_defect_rate is {self.max_defect_rate}; it must lie between 0 and 1")
        parts.check(self.num_parts, self.part)

    @property
    def inputs(self) -> list[Path]:
        """Return the folder that the shards are made from."""
        return [self.cuts_dir]


def shard(cfg: ShardConfig) -> None:
    """Write all splits, or a part of their tars, whole or not at all.

    ValueError for missing splits or parts, hostile keys or too many defects. Tars that a killed run has finished are
    kept, in `.<name>.unfinished` beside `out_dir`, for the next run.
    """
    parts.make(cfg, run_part, run, resumable=True)


def run(cfg: ShardConfig, out: Path) -> None:
    """Write all splits into `out`, where an earlier run may have left some. ValueError as `shard`."""
    # Here and not above: a rerun that has nothing to do need not wait for Lhotse.
    from osum.data.corpora.shard_records import forget_defective, take_over
    from osum.data.corpora.sharding import write_split

    total, manifests = Drops(), _manifests(cfg, out)
    for part in parts.finished(cfg) if cfg.num_parts > 1 else ():
        for split in manifests:
            if (part / split).is_dir():
                take_over(part / split, out / split)
    try:
        for split, manifest in manifests.items():
            table, ends = _table(cfg, manifest, out / split)
            if len(table):
                about = (cfg.audio_format, cfg.num_procs)
                drops = write_split(table, out / split, cfg.out_dir / split, ends, *about)
                logger.info("shard split=%s shards=%d read=%d used=%d", split, len(ends), drops.read, drops.used)
                total.merge(drops)
        total.settle(out, cfg.out_dir, cfg.max_defect_rate)
        licences.carry(cfg.cuts_dir, out)
    except ValueError:
        for folder in out.iterdir():
            forget_defective(folder)  # for their audio may be repaired before the next run
        raise


def run_part(cfg: ShardConfig, out: Path) -> None:
    """Write every `num_parts`-th tar of all splits into `out`. ValueError as `shard`."""
    from osum.data.corpora.sharding import write_part

    for split, manifest in _manifests(cfg, out).items():
        table, ends = _table(cfg, manifest, out / split)
        numbers = range(cfg.part - 1, len(ends), cfg.num_parts)
        if len(table):
            drops = write_part(table, out / split, ends, cfg.audio_format, cfg.num_procs, numbers)
            counts = (len(numbers), drops.read, drops.used)
            logger.info(
                "shard split=%s part=%d of=%d shards=%d read=%d used=%d", split, cfg.part, cfg.num_parts, *counts
            )


def _manifests(cfg: ShardConfig, out: Path) -> dict[str, Path]:
    """Return the manifest of each split to write, and take from `out` what belongs to no split."""
    manifests = {split: _manifest(cfg, split) for split in cfg.splits or _splits(cfg.cuts_dir)}
    for left in out.iterdir():
        if left.name not in manifests:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return manifests


def _table(cfg: ShardConfig, manifest: Path, folder: Path) -> tuple[CutTable, np.ndarray]:
    """Return the cuts of a split, and where its shards end; without a cut the folder is taken away again."""
    from osum.data.corpora.cut_table import read_table
    from osum.data.corpora.sharding import shard_ends, shuffled

    folder.mkdir(exist_ok=True)
    table = read_table(manifest, folder / COPY_NAME)
    if len(table):
        return table, shard_ends(table.num_samples[shuffled(table)], cfg.shard_size, cfg.num_shards)
    if cfg.splits:
        raise ValueError(f"{manifest}: no utterances; change the splits here or in annotate")
    logger.info("shard split=%s utterances=0, left out", folder.name)
    shutil.rmtree(folder)
    return table, np.zeros(0, dtype=np.int64)


def _splits(cuts_dir: Path) -> list[str]:
    return sorted(path.name.removesuffix(".jsonl.gz") for path in cuts_dir.glob("*.jsonl.gz"))


def _manifest(cfg: ShardConfig, split: str) -> Path:
    path = cfg.cuts_dir / f"{split}.jsonl.gz"
    if not path.is_file():
        raise ValueError(f"{path}: no such split; there are {_splits(cfg.cuts_dir)}")
    return path


def main(argv: list[str] | None = None) -> None:
    """Run the stage from the command line."""
    shard(load(ShardConfig, argv))


if __name__ == "__main__":
    log.run_main(main)
