"""Parameters on disk: safetensors only, strict by name, each shared tensor once."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from osum.outputs import atomic_write


def parameters_of(model: nn.Module, without: str | None = None) -> dict[str, Tensor]:
    """Return parameters by name, tied ones once. `without`: leave out frozen ones whose name matches (a base model)."""
    return {
        name: p.detach()
        for name, p in model.named_parameters()
        if p.requires_grad or without is None or not re.search(without, name)
    }


def save_parameters(parameters: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file, whole or not at all."""
    atomic_write(path, save({name: p.contiguous().cpu() for name, p in parameters.items()}))


def load_parameters(model: nn.Module, path: Path, without: str | None = None) -> None:
    """Fill a model from a file of `save_parameters` with the same `without`. ValueError lists what does not fit."""
    fill(model, read_parameters(path), str(path), without)


def read_parameters(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. ValueError naming it if it is none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file; has the training stage finished?")
    try:
        return load_file(path)
    except SafetensorError as err:
        raise ValueError(f"{path}: not a safetensors file ({err})") from err


@torch.no_grad()
def fill(model: nn.Module, found: dict[str, Tensor], source: str, without: str | None = None) -> None:
    """Copy parameters into a model. ValueError lists names and shapes that do not fit."""
    wanted = parameters_of(model, without)
    own = dict(model.named_parameters())
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - own.keys())
    shapes = [n for n in wanted.keys() & found.keys() if wanted[n].shape != found[n].shape]
    for kind, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes)):
        if names:
            raise ValueError(
                f"{source}: {len(names)} parameters are {kind}, for example {names[0]}; is it this model's?"
            )
    for name, value in found.items():
        own[name].copy_(value)
