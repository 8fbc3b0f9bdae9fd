"""Output folders of stages: atomic, with a done-mark that says from what they were made."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osum import config as config_module
from osum import log
from osum.lock import only_run_in

if TYPE_CHECKING:
    from osum.dist import World

DONE_MARK = ".done.json"
STARTED_MARK = ".started.json"
NOT_CONTENT = frozenset({"out_dir", "overwrite", "accept_changes", "num_workers", "num_procs", "num_parts", "part"})
"""Config fields that say where or how fast, not what: they never make an output stale."""
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a write for which there is no room; Python leaves the file out of them."""
PRETRAINED = ("config.json", "tokenizer.json", "vocab.json")
"""Files by one of which the folder of a pretrained model or tokenizer is known."""
SAMPLE_BYTES = 2**20
"""Of a large file, so much is looked at in three places."""

Inputs = Sequence[Path] | Mapping[str, str]
"""Stage folders, models and files; or by name what identifies each, for what is no file of its own."""

logger = log.get(__name__)


def digest(obj: Any) -> str:
    """Return a short hash of anything that JSON can hold."""
    return hashlib.blake2b(json.dumps(obj, sort_keys=True, ensure_ascii=True).encode(), digest_size=12).hexdigest()


@contextmanager
def needing_space(path: Path) -> Iterator[None]:
    """Let the OSError of a full disk name `path` and the remedy."""
    try:
        yield
    except OSError as err:
        if err.errno not in DISK_FULL:
            raise
        place = err.filename or path
        raise OSError(f"{place}: {err.strerror}; free some space or choose another place, then run again") from err


def atomic_write(path: Path, data: str | bytes) -> None:
    """Write a whole file or nothing: to a neighbour first, flushed to disk, then renamed over the path.

    OSError naming the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with needing_space(path), open(partial, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def move_durably(source: Path, target: Path) -> None:
    """Rename within one folder, and return once the disk has it: a node that dies then takes nothing back."""
    os.replace(source, target)
    sync_folder(target.parent)


def sync_folder(path: Path) -> None:
    """Return once the disk has the names of the files in a folder."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def input_fingerprint(path: Path) -> str:
    """Return what identifies an input: the done-mark of a stage's folder, else the content of a file.

    Of the folder of a pretrained model or tokenizer, the names and sizes of its files, and the content of small ones.
    Weights take minutes to read: of each file over 3 MiB, the first MiB (where safetensors name what they hold), the
    middle and the last. Training changes all of that; it can't see a file that was edited elsewhere alone.
    FileNotFoundError when the input is missing or its stage has not finished.
    """
    if (path / DONE_MARK).is_file():
        return json.loads((path / DONE_MARK).read_text())["fingerprint"]
    if path.is_file():
        with open(path, "rb") as f:
            return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=12)).hexdigest()
    if any((path / name).is_file() for name in PRETRAINED):
        visible = (p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        return digest({p.name: [p.stat().st_size, _sampled(p)] for p in visible})
    if path.is_dir():
        raise FileNotFoundError(f"{path}: the stage that writes it has not finished; run that stage again")
    raise FileNotFoundError(f"{path}: not found; run the stage that writes it first")


def fingerprints(inputs: Inputs) -> dict[str, str]:
    """Return what identifies each input by its name. FileNotFoundError as `input_fingerprint`."""
    return dict(inputs) if isinstance(inputs, Mapping) else {str(p): input_fingerprint(Path(p)) for p in inputs}


def _sampled(path: Path) -> str:
    """Hash a file's content, all of it or its beginning, middle and end."""
    size, seen = path.stat().st_size, hashlib.blake2b(digest_size=12)
    is_small = size <= 3 * SAMPLE_BYTES
    with open(path, "rb") as f:
        for start in (0,) if is_small else (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES):
            f.seek(start)
            seen.update(f.read(size if is_small else SAMPLE_BYTES))
    return seen.hexdigest()


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Return one line per leaf that differs between two plain configs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for k in keys for line in differences(old.get(k), new.get(k), f"{prefix}{k}.")]
    return [] if old == new else [f"{prefix.rstrip('.')}: {old!r} -> {new!r}"]


def up_to_date(
    path: Path,
    config: Any,
    inputs: Inputs = (),
    overwrite: bool = False,
    in_place: bool = False,
    accept_changes: bool = False,
) -> bool:
    """Return whether `output_dir` would yield None, and log it. ValueError as there.

    For stages that have much to start before they can enter `output_dir`.
    """
    return _up_to_date(path, config, _mark(config, inputs), overwrite, in_place, accept_changes)


@contextmanager
def output_dir(
    path: Path | str,
    config: Any,
    inputs: Inputs = (),
    overwrite: bool = False,
    in_place: bool = False,
    world: World | None = None,
    accept_changes: bool = False,
    resumable: bool = False,
) -> Iterator[Path | None]:
    """Yield a folder to write the outputs of a stage into, or None when they are already there and up to date.

    The folder becomes `path` only if the body ends well; a killed body leaves `path` as it was. With `in_place`
    (training: checkpoints must survive a kill) the body writes to `path` itself, and changed inputs stop it. With
    `resumable` a body that fails or is killed leaves its folder to the next one, which judges what in it is of use.

    `config` decides the content together with `inputs`; options that an old output does not know are at their defaults
    in it, and an input that was moved is the same. ValueError with a diff when `path` was made from another config, or
    in place from other inputs, unless `overwrite`, or in place `accept_changes`; and if another run is writing in
    the same folder. With several processes in one `world` all come to the same decision, and the main one writes.
    """
    path, mark = Path(path), _mark(config, inputs)
    if _up_to_date(path, config, mark, overwrite, in_place, accept_changes):
        yield None
        return
    with needing_space(path), _alone(path, in_place or resumable, world):
        if in_place:
            yield from _write_in_place(path, mark, clear=overwrite, world=world)
        else:
            yield from _write_then_rename(path, mark, resumable)


def _alone(path: Path, one_folder: bool, world: World | None) -> AbstractContextManager[None]:
    # Elsewhere two at a time are harmless: each writes to a folder of its own, and the last one to end wins.
    return only_run_in(path) if one_folder and (world is None or world.is_main) else nullcontext()


def _mark(config: Any, inputs: Inputs) -> dict[str, Any]:
    # `overwrite` and the like are dropped on the top level only: nested configs all describe content.
    plain = {k: v for k, v in config_module.to_dict(config).items() if k not in NOT_CONTENT}
    made_from = {"config": plain, "inputs": fingerprints(inputs)}
    return {**made_from, "fingerprint": digest({"config": plain, "inputs": sorted(made_from["inputs"].values())})}


def _up_to_date(
    path: Path, config: Any, mark: dict[str, Any], overwrite: bool, in_place: bool, accept_changes: bool
) -> bool:
    old = None if overwrite else _read_mark(path)
    if old is None:
        return False
    old_config, inputs = _completed(old["config"], config_module.defaults(config)), mark["inputs"]
    changed = differences(old_config, _unmoved(old_config, mark["config"], old["inputs"], inputs))
    if in_place and old["inputs"].keys() < inputs.keys():
        # The config says which there are: what an unchanged one adds, older code did not look at.
        inputs = {path: inputs[path] for path in old["inputs"]}
    same_inputs = sorted(old["inputs"].values()) == sorted(inputs.values())
    if old["complete"] and not changed and same_inputs:
        logger.info("skip out_dir=%s reason=up-to-date", path)
        return True
    if in_place and not same_inputs:
        changed += differences(old["inputs"], inputs, "inputs.")
    if changed and in_place and accept_changes:
        logger.warning("out_dir=%s goes on with other settings: %s", path, "; ".join(changed))
    elif changed:
        raise ValueError(
            f"{path} was made with other settings ({'; '.join(changed)}). Use the old settings, another output folder, "
            "or --overwrite true to replace it" + ("; --accept_changes true goes on with them" if in_place else "")
        )
    return False


def _unmoved(old: Any, new: Any, old_inputs: Mapping[str, str], inputs: Mapping[str, str]) -> Any:
    """Return a config with the old path of each input that is elsewhere now, but the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {name: _unmoved(old.get(name), value, old_inputs, inputs) for name, value in new.items()}
    moved = isinstance(old, str) and isinstance(new, str) and new in inputs and inputs[new] == old_inputs.get(old)
    return old if moved else new


def _completed(old: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return a config as it reads with options that did not exist when it was written: at their defaults."""
    nested = {
        name: _completed(old[name], default)
        for name, default in defaults.items()
        if isinstance(default, dict) and isinstance(old.get(name), dict)
    }
    new = {name: default for name, default in defaults.items() if name not in old and name not in NOT_CONTENT}
    return {**old, **new, **nested}


def _read_mark(path: Path) -> dict[str, Any] | None:
    for name, complete in ((DONE_MARK, True), (STARTED_MARK, False)):
        if (path / name).is_file():
            return {**json.loads((path / name).read_text()), "complete": complete}
    return None


def _write_in_place(path: Path, mark: dict[str, Any], clear: bool, world: World | None) -> Iterator[Path]:
    is_main, barrier = (True, lambda: None) if world is None else (world.is_main, world.barrier)
    barrier()  # all have read the old marks
    if is_main:
        _sweep(path)
        if clear:
            _discard(path)
        path.mkdir(parents=True, exist_ok=True)
        for left in path.rglob(".*.tmp"):
            left.unlink()  # `atomic_write` was killed; nobody else writes here before the next barrier
        (path / DONE_MARK).unlink(missing_ok=True)
        atomic_write(path / STARTED_MARK, json.dumps(mark, ensure_ascii=False, indent=1))
    barrier()
    yield path
    barrier()
    if is_main:
        atomic_write(path / DONE_MARK, json.dumps(mark, ensure_ascii=False, indent=1))


def _write_then_rename(path: Path, mark: dict[str, Any], resumable: bool) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    partial = path.with_name(f".{path.name}.unfinished" if resumable else f".{path.name}.{os.getpid()}.partial")
    partial.mkdir(exist_ok=resumable)
    try:
        yield partial
        sync_folder(partial)
        atomic_write(partial / DONE_MARK, json.dumps(mark, ensure_ascii=False, indent=1))
        _discard(path)
        move_durably(partial, path)
    finally:
        if not resumable:
            shutil.rmtree(partial, ignore_errors=True)


def _discard(path: Path) -> None:
    """Delete a folder if it is there; a kill never leaves it at `path` with its mark but without some of its files."""
    doomed = path.with_name(f".{path.name}.{os.getpid()}.old.partial")
    if path.exists():
        os.replace(path, doomed)
        shutil.rmtree(doomed)


def _sweep(path: Path) -> None:
    """Delete what runs that were killed have left beside `path`."""
    for stale in path.parent.glob(f".{path.name}.*.partial"):
        shutil.rmtree(stale)
