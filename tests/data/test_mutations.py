"""Damaged and hostile input: a named error or a counted drop, never a crash, a hang, a silent loss or a stray file.

A few hundred mutations; `--mutations 2000` makes it as many.
"""

import json
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.shar import SharWriter

from osum import tasks
from osum.bin.index import IndexConfig
from osum.bin.index import index as index_source
from osum.data.corpora.configs import FilterConfig
from osum.data.examples import Dropped, Item, make_example
from osum.data.sources.config import SourceConfig
from osum.data.store.index import Index
from osum.data.store.shards import shard_name
from osum.rng import rng_for
from tests.data import mutation
from tests.data.foreign import speech, write_list, write_tar

LIMIT_S = 20
NUM = 6
KEYS = {f"spk/u{i}" for i in range(NUM)}


def about(key, num_samples):
    return {"key": key, "corpus": "c", "language": "en", "text": "hello", "num_samples": num_samples, "tasks": ["asr"]}


def tar_members(source_format):
    """Members of NUM utterances of some 100 ms, WAV and FLAC in turn."""
    members = []
    for i, key in enumerate(sorted(KEYS)):
        num_samples, suffix = 1_600 + i, ("wav", "flac")[i % 2]
        audio = speech(num_samples, seed=i, audio_format=suffix.upper())
        members += [(f"{key}.txt", "hello"), (f"{key}.{suffix}", audio)]
        if source_format == "original":
            fields = {"task": "<TRANSCRIBE>", "lang": "en", "speaker": "s", "emotion": "none", "extra": "{}"}
            members += [(f"{key}.{name}", value) for name, value in fields.items()]
        elif source_format == "osum":
            members.append((f"{key}.json", json.dumps(about(key, num_samples))))
    return members


def write_source(source_format: str, folder: Path) -> tuple[Path, list[Path]]:
    """Write NUM utterances; return the path of the source and the files to damage."""
    if source_format in ("wenet_shard", "original", "osum"):
        tar = write_tar(folder / "a.tar", tar_members(source_format))
        path = write_list(folder / "a.list", tar)
        return path, [tar, tar, tar, path]
    wavs = {}
    for i, key in enumerate(sorted(KEYS)):
        wavs[key] = folder / f"{i}.wav"
        wavs[key].write_bytes(speech(1_600 + i, seed=i))
    if source_format == "wenet_raw":
        row = {"txt": "hello", "gender": "F", "start": 0, "end": 0.1}
        path = write_list(folder / "a.list", *({"key": key, "wav": str(wav), **row} for key, wav in wavs.items()))
        return path, [path, path, *wavs.values()]
    cuts = [
        MonoCut(
            key, 0.0, 0.1, 0, [SupervisionSegment(key, "r", 0.0, 0.1, text="hello", gender="F", speaker="s")],
            recording=Recording.from_file(path, recording_id="r"), custom={"a": 1},
        )
        for key, path in wavs.items()
    ]  # fmt: skip
    if source_format == "lhotse":
        path = write_list(folder / "cuts.jsonl", *(cut.to_dict() for cut in cuts))
        return path, [path, path, *wavs.values()]
    (folder / "shar").mkdir()
    with SharWriter(str(folder / "shar"), fields={"recording": "flac"}, shard_size=NUM) as writer:
        for cut in cuts:
            writer.write(cut)
    files = sorted((folder / "shar").iterdir())
    return folder / "shar", files


@contextmanager
def time_limit(case: str):
    def stop(*_):
        raise AssertionError(f"{case}: more than {LIMIT_S} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)


def damage(file: Path, rng: np.random.Generator) -> str:
    """Change a file in place; return the name of the change."""
    kinds = {".tar": mutation.OF_TAR, ".gz": mutation.OF_GZIP, ".wav": (*mutation.GENERAL, mutation.audio)}
    of_file = kinds.get(file.suffix, mutation.OF_LIST)
    change = of_file[int(rng.integers(len(of_file)))]
    file.write_bytes(change(file.read_bytes(), rng))
    return change.__name__


def snapshot(folder: Path, but: Path) -> dict[Path, tuple[int, int] | None]:
    """Size and time of every file below a folder, None for folders; all but one folder."""
    found = {path: path.lstat() for path in folder.rglob("*") if path != but and but not in path.parents}
    return {path: None if path.is_dir() else (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def read_all(index: Index) -> list[str]:
    """Make an example of every row; return the keys of those that can't be used, each with a reason."""
    served, prompts = {"asr": tasks.get("asr")}, {"asr": {"en": ("write",)}}
    unusable = []
    for row in range(len(index)):
        example = make_example(index, Item(row, "asr", 0), served, prompts)
        if isinstance(example, Dropped):
            assert example.reason
            unusable.append(example.key)
        else:
            assert np.isfinite(example.audio).all()
            assert len(example.audio) == int(index.rows[row]["num_samples"])
    return unusable


FORMATS = ("wenet_shard", "original", "osum", "wenet_raw", "lhotse", "shar")
PER_LINE = ("wenet_raw", "lhotse")
"""Formats in which an utterance is a line, so that lines tell how many there are."""


@pytest.mark.parametrize("source_format", FORMATS)
def test_a_damaged_source_is_indexed_or_refused_by_name(source_format, tmp_path, repo_root, num_mutations):
    (tmp_path / "in").mkdir()
    path, files = write_source(source_format, tmp_path / "in")
    source = SourceConfig("c", source_format, path, language="en")
    options = {"labels_dir": repo_root / "local/labels", "max_defect_rate": 1.0, "tasks": ["asr", "sgc"]}
    cfg = IndexConfig([source], tmp_path / "out/index", filters=FilterConfig(min_duration_s=0.0), **options)
    num_indexed = 0
    for number in range(num_mutations // 8):
        rng = rng_for("source", source_format, number)
        file = files[int(rng.integers(len(files)))]
        clean = file.read_bytes()
        case = f"{source_format} {number}: {damage(file, rng)} of {file.name}"
        before = snapshot(tmp_path, tmp_path / "out")
        with time_limit(case):
            try:
                index_source(cfg)
            except (ValueError, OSError) as err:
                assert str(tmp_path) in str(err), f"{case}: names no file: {err!r}"
            except Exception as err:
                raise AssertionError(f"{case}: {err!r}") from err
            else:
                num_indexed += 1
                check_account(case, cfg, file)
        assert snapshot(tmp_path, tmp_path / "out") == before, case
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        file.write_bytes(clean)
    assert num_indexed > num_mutations // 40, "nearly everything is refused"


def check_account(case: str, cfg: IndexConfig, file: Path) -> None:
    """Everything read is used or dropped, the index holds what is used, and nothing is lost without a name."""
    (source,) = cfg.sources
    index, ledger = Index.open(cfg.out_dir / "train"), json.loads((cfg.out_dir / "drops.json").read_text())
    num_dropped = sum(reason["count"] for reason in ledger["dropped"].values())
    assert ledger["read"] == ledger["used"] + num_dropped, case
    assert len(index) == ledger["used"], case
    read_all(index)
    if source.format in PER_LINE and file == source.path:
        assert ledger["read"] == sum(bool(line.strip()) for line in file.read_bytes().split(b"\n")), case
    else:
        assert num_dropped or set(index.keys()) >= KEYS, f"{case}: lost without a name"


def index_own(folder: Path, tmp_path: Path) -> None:
    """Put in place of the index of a split one that keeps what is known in a file of its own."""
    tars = write_list(tmp_path / "a.list", *sorted(folder.glob("*.tar")))
    index_source(IndexConfig([SourceConfig("toy", "osum", tars)], tmp_path / "made", tasks=["asr", "sgc"]))
    for made in (tmp_path / "made/train").iterdir():
        shutil.copy(made, folder / made.name)


@pytest.mark.parametrize("file_name", ["index.npy", "index_keys.npy", "index_ends.npy", "index.json", "shard", "lines"])
def test_a_damaged_index_is_refused_or_its_rows_are_dropped_by_name(file_name, tmp_path, shards_dir, num_mutations):
    folder = tmp_path / "train"
    shutil.copytree(shards_dir / "train", folder)
    file = folder / {"shard": shard_name(1), "lines": "utterances.jsonl"}.get(file_name, file_name)
    if file_name == "lines":
        index_own(folder, tmp_path)
    num_rows, clean = len(Index.open(folder)), file.read_bytes()
    for number in range(num_mutations // 24):
        rng = rng_for("index", file_name, number)
        case = f"{file_name} {number}: {damage(file, rng)}"
        with time_limit(case):
            try:
                index = Index.open(folder)
                assert len(index) == num_rows, case
                read_all(index)
            except (ValueError, OSError) as err:
                assert str(tmp_path) in str(err), f"{case}: names no file: {err!r}"
            except Exception as err:
                raise AssertionError(f"{case}: {err!r}") from err
        file.write_bytes(clean)
    assert read_all(Index.open(folder)) == []
