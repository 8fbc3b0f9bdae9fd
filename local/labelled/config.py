"""What lists are read and how. Nothing here needs Lhotse, so that the options can be read without it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "wav", "audio"),
    "text": ("text", "txt"),
    "key": ("key", "id"),
    "speaker": ("speaker",),
    "gender": ("gender",),
    "language": ("language", "lang"),
    "words": ("words",),
    "age_group": ("age_group",),
    "age": ("age",),
    "emotion": ("emotion",),
    "style": ("style",),
    "event": ("event",),
    "answer": ("answer",),
    "split": ("split",),
    "start": ("start",),
    "end": ("end",),
    "duration": ("duration",),
}
"""Our fields and the columns they are looked for in, the first that a row has; `--fields` puts another name first."""


@dataclass
class LabelledConfig:
    """Lists of labelled recordings to manifests."""

    lists: list[Path]
    """JSONL, CSV or TSV files; keys must differ over all of them."""
    out_dir: Path
    """Folder of the manifests; its name is the corpus's."""
    audio_root: Path | None = None
    """Folder that relative paths start from; null: that of each list."""
    fields: dict[str, str] = field(default_factory=dict)
    """Our field -> column of the lists, for lists that use other names."""
    language: str = "und"
    """Language of rows that name none, ISO 639-1."""
    channels: Literal["mix", "first"] = "mix"
    """Several channels: their mean, written to `out_dir`/audio, or the first alone (best for microphone arrays)."""
    max_defect_rate: float = 0.01
    """Share of defective rows, 0 to 1, above which the import stops."""
    overwrite: bool = False
    """Replace manifests that were made with other settings."""

    def __post_init__(self) -> None:
        """ValueError for unknown fields, and for lists that are not there."""
        unknown = sorted(set(self.fields) - set(COLUMNS))
        if unknown:
            raise ValueError(f"fields: unknown field {unknown[0]!r}; the fields are {', '.join(COLUMNS)}")
        if not self.lists:
            raise ValueError("lists is empty; name at least one list")
        missing = [path for path in self.lists if not path.is_file()]
        if missing:
            raise ValueError(f"lists: {missing[0]} is no file")
