r"""Stage 0: raw corpora -> Lhotse manifests, by the script that knows each corpus.

Alone, for one corpus, in egs/osum:

    python -m osum.bin.prepare --config conf/mini/prepare.yaml --out_dir data/mini/manifests --corpora '[mini]'
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osum import config, log

RAW_DIR = "{raw_dir}"

logger = log.get(__name__)


@dataclass
class Source:
    """One corpus: who prepares it, and from what."""

    script: str | None = None
    """File in local_dir; null: prepare_<corpus>.py."""
    args: dict[str, Any] | None = None
    """Options of the script but --out_dir; `{raw_dir}` in a value stands for the option raw_dir."""


@dataclass
class PrepareConfig:
    """Stage 0: raw corpora to manifests."""

    out_dir: Path
    """Folder of the manifests: one folder per corpus, each made by its script only if it is missing or stale."""
    sources: dict[str, Source]
    """The corpora by name."""
    corpora: list[str] | None = None
    """Which of the sources to prepare; null: all."""
    local_dir: Path = Path("local")
    """Folder of the prepare scripts."""
    raw_dir: Path | None = None
    """Where raw corpora lie; needed if a source's args name it."""

    def __post_init__(self) -> None:
        """ValueError for a corpus without source and for a raw_dir that is needed but not there."""
        unknown = sorted(set(self.corpora or ()) - set(self.sources))
        if unknown:
            raise ValueError(f"corpora: no source {unknown[0]!r}; the sources are {', '.join(sorted(self.sources))}")
        needs_raw = [name for name in self.names if RAW_DIR in json.dumps(self.sources[name].args)]
        if needs_raw and not (self.raw_dir and self.raw_dir.is_dir()):
            raise ValueError(f"raw_dir {self.raw_dir} is no folder, and corpus {needs_raw[0]!r} is read from it")

    @property
    def names(self) -> list[str]:
        """The corpora to prepare, in order."""
        return list(self.sources) if self.corpora is None else self.corpora


def command(cfg: PrepareConfig, corpus: str) -> list[str]:
    """Return the command that prepares a corpus. ValueError if its script is missing."""
    source = cfg.sources[corpus]
    script = cfg.local_dir / (source.script or f"prepare_{corpus}.py")
    if not script.is_file():
        raise ValueError(f"{script}: no such script; write it, or name another in sources.{corpus}.script")
    return [sys.executable, str(script), "--out_dir", str(cfg.out_dir / corpus), *options(source.args, cfg.raw_dir)]


def options(args: Mapping[str, Any] | None, raw_dir: Path | None) -> list[str]:
    """Return command-line options; values that are not strings are written as JSON, as the scripts' parser reads."""
    words = []
    for name, value in (args or {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        words += [f"--{name}", text.replace(RAW_DIR, str(raw_dir))]
    return words


def main() -> None:
    """Read the options and run the scripts one after the other."""
    cfg = config.load(PrepareConfig)
    for corpus in cfg.names:
        words = command(cfg, corpus)
        logger.info("prepare corpus=%s script=%s", corpus, words[1])
        status = subprocess.run(words, check=False).returncode
        if status != 0:
            raise ValueError(f"corpus {corpus}: {words[1]} failed with status {status}; its message stands above")


if __name__ == "__main__":
    log.run_main(main)
