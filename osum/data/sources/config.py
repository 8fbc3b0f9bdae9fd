"""Which data is indexed. Nothing here needs Lhotse, so that the options are read without."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Format = Literal["wenet_raw", "wenet_shard", "original", "osum", "lhotse", "shar"]


@dataclass
class SourceConfig:
    """Data in one format, of one corpus."""

    corpus: str
    """Name of the corpus; `<labels_dir>/<corpus>.yaml` maps its labels. Our own shards keep theirs."""
    format: Format
    """`wenet_raw`: JSON lines; `wenet_shard`, `original` (the original OSUM's) and `osum` (ours): a list of tars;
    `lhotse`: a CutSet as JSON lines; `shar`: a folder of Lhotse Shar."""
    path: Path
    """The list, the CutSet or the folder."""
    split: str = "train"
    """Split that all its utterances belong to."""
    language: str = "und"
    """Language of utterances that name none, ISO 639; `und`: unknown."""
    tasks: list[str] | None = None
    """Tasks that its utterances may serve, of those of the command; null: all of them. Our own shards keep theirs."""
    licence: str | None = None
    """Licence of the corpus, for the card of the model; null: unknown."""
    root: str | None = None
    """Folder or address that relative paths in the list start from; null: the working folder."""

    def __post_init__(self) -> None:
        """ValueError for a split that can't be a folder, or a corpus without name."""
        if not re.fullmatch(r"\w[\w.-]*", self.split):
            raise ValueError(f"split {self.split!r} can't be the name of a folder")
        if not self.corpus:
            raise ValueError(f"the source {self.path} has no corpus; name it")
