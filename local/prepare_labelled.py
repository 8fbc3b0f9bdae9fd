"""Turn any list of labelled recordings into Lhotse manifests.

    python local/prepare_labelled.py --lists '[a.jsonl, b.csv]' --audio_root R --out_dir egs/osum/data/real/manifests/a

A list is JSON lines (also WeNet's raw lists) or a .csv or .tsv table with a header. Columns: path and text; if known
key, speaker, gender, language, words ([[word, start s, end s], ...]), age_group or age (in words or years), emotion,
style, event, answer, split, and start and end (s) of the part of the file that is meant. All other columns are kept in
`custom`. Null is unknown, and so is an empty cell of a table; `"text": ""` in JSON means: verified to hold no speech.
Labels stay as they are: stage 1 maps them by local/labels/<corpus>.yaml, where <corpus> is the name of `out_dir`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from labelled.channels import mix_down
from labelled.entry import COLUMNS, fields_of, to_recording, to_supervision
from labelled.lists import BadRow, read_list
from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from osum import config, log, outputs
from osum.data.drops import Drops
from osum.data.shards import check_key

logger = log.get("prepare_labelled")


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


def import_row(
    cfg: LabelledConfig, list_path: Path, row: dict[str, Any] | BadRow, audio_dir: Path, seen: set[str]
) -> tuple[Recording, SupervisionSegment]:
    """Return the manifests' entries of a row; its key goes to `seen`. BadRow if it can't be used."""
    if isinstance(row, BadRow):
        raise row
    ours, others = fields_of(row, cfg.fields)
    if not isinstance(ours.get("path"), str):
        raise BadRow("no path")
    key = key_of(ours)
    if key in seen:
        raise BadRow("duplicate key")
    root = (cfg.audio_root or list_path.parent).absolute()
    recording = to_recording(key, root / ours["path"])
    supervision = to_supervision(key, recording, ours, others, cfg.language)
    if cfg.channels == "mix":
        recording = mix_down(recording, audio_dir, cfg.out_dir.absolute() / "audio")
    seen.add(key)
    return recording, supervision


def key_of(ours: dict[str, Any]) -> str:
    """Return the key of a row: its own, else the path without its suffix (and the start if it names a part).

    BadRow if it can't name a member of a shard, for example because it leads out of its folder.
    """
    part = f"-{ours['start']}" if "start" in ours else ""
    key = str(ours.get("key", Path(ours["path"]).with_suffix("").as_posix().lstrip("/") + part))
    try:
        return check_key(key)
    except ValueError:
        raise BadRow("key is not usable as a file name") from None


def import_lists(cfg: LabelledConfig, audio_dir: Path, drops: Drops) -> Iterator[tuple[Recording, SupervisionSegment]]:
    """Yield the entries of all usable rows; the others are counted and listed as `file:line key`."""
    seen: set[str] = set()
    for list_path in cfg.lists:
        for line, row in read_list(list_path):
            drops.read += 1
            try:
                entry = import_row(cfg, list_path, row, audio_dir, seen)
            except BadRow as bad:
                drops.add(str(bad), f"{list_path}:{line}", defect=True)
                continue
            drops.used += 1
            yield entry


def write_manifests(cfg: LabelledConfig, out_dir: Path) -> None:
    """Write the manifests and drops.json. ValueError if too many rows are defective."""
    drops = Drops()
    entries = list(import_lists(cfg, out_dir / "audio", drops))
    drops.settle(out_dir, cfg.out_dir, cfg.max_defect_rate)
    RecordingSet.from_recordings(r for r, _ in entries).to_file(out_dir / "recordings.jsonl.gz")
    SupervisionSet.from_segments(s for _, s in entries).to_file(out_dir / "supervisions.jsonl.gz")
    audio_s = sum(s.duration for _, s in entries)
    logger.info("labelled out_dir=%s rows=%d used=%d audio_s=%.0f", cfg.out_dir, drops.read, drops.used, audio_s)


def main() -> None:
    """Read the options and write the manifests, unless they are there."""
    cfg = config.load(LabelledConfig)
    with outputs.output_dir(cfg.out_dir, cfg, inputs=cfg.lists, overwrite=cfg.overwrite) as out_dir:
        if out_dir is not None:
            write_manifests(cfg, out_dir)


if __name__ == "__main__":
    log.run_main(main)
