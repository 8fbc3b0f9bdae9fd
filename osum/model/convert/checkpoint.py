"""Checkpoints of other projects: tensors by name, read without running anything that a file may hold."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

State = dict[str, Tensor]
DDP_PREFIX = "module."
FOLDER_FILES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
"""Where the weights of a Hugging Face folder are, the first that exists; an index names its shards."""


def read_state(path: Path) -> State:
    """Return the tensors of a `.pt` or `.safetensors` file by name, without the prefix `module.` of DDP.

    ValueError naming the file if it is no plain dictionary of tensors.
    """
    return plain_state(read_object(path), path)


def plain_state(found: Any, path: Path) -> State:
    """Return a dictionary of tensors as it is, without the prefix of DDP. ValueError if it is something else."""
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{path}: expected tensors by name, found {_described(found)}")
    others = [name for name, value in found.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        listed = ", ".join(f"{name!r} ({_described(found[name])})" for name in others[:5])
        raise ValueError(f"{path}: {len(others)} entries are not tensors: {listed}; save model.state_dict() alone")
    if all(name.startswith(DDP_PREFIX) for name in found):
        found = {name.removeprefix(DDP_PREFIX): value for name, value in found.items()}
    return dict(found)


def read_object(path: Path) -> Any:
    """Return what a checkpoint file holds: tensors and plain containers only. ValueError for anything else."""
    if path.is_dir():
        raise ValueError(f"{path}: a folder; give the checkpoint file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as err:
        reason = str(err).partition("Unsupported")[1:]
        detail = "".join(reason).splitlines()[0] if any(reason) else "it is damaged or holds more than tensors"
        raise ValueError(f"{path}: not a file of weights ({detail}); nothing in it was run") from err
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as err:
        raise ValueError(f"{path}: not a file of weights ({str(err).splitlines()[0] if str(err) else err!r})") from err


def read_folder(folder: Path) -> State:
    """Return all tensors of a Hugging Face folder, from one file or from shards. ValueError or FileNotFoundError."""
    name = next((name for name in FOLDER_FILES if (folder / name).is_file()), None)
    if name is None:
        raise FileNotFoundError(f"{folder}: no weights; expected one of {', '.join(FOLDER_FILES)}")
    if not name.endswith(".index.json"):
        return read_state(folder / name)
    try:
        shards = sorted(set(json.loads((folder / name).read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as err:
        raise ValueError(f"{folder / name}: not an index of weights ({err!r})") from err
    return {key: value for shard in shards for key, value in read_state(folder / shard).items()}


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except SafetensorError as err:
        raise ValueError(f"{path}: not a safetensors file ({err})") from err


def _described(found: Any) -> str:
    return "nothing" if isinstance(found, Mapping) and not found else type(found).__name__
