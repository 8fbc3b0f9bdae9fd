"""Lists to Lhotse manifests: every row is an entry of them, or of the drop ledger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from labelled.channels import mix_down
from labelled.config import LabelledConfig
from labelled.entry import fields_of, to_recording, to_supervision
from labelled.lists import BadRow, read_list
from osum import log
from osum.data.drops import Drops
from osum.data.store.shards import check_key

logger = log.get("prepare_labelled")


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
