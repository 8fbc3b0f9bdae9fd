import resource
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from osum.model.store import fill, load_parameters, parameters_of, save_parameters


@contextmanager
def file_size_limit(num_bytes):
    """A disk that is full after so many bytes of a file."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 4)
        self.head.weight = self.embed.weight


def test_tied_parameters_are_stored_once_and_stay_tied(tmp_path):
    model, other = Tied(), Tied()
    save_parameters(parameters_of(model), tmp_path / "m.safetensors")
    assert sorted(load_file(tmp_path / "m.safetensors")) == ["embed.weight", "head.bias"]
    load_parameters(other, tmp_path / "m.safetensors")
    assert torch.equal(other.head.weight, model.embed.weight) and other.head.weight is other.embed.weight


def test_frozen_parameters_of_a_base_are_left_out_trained_ones_never():
    model = Tied()
    model.embed.weight.requires_grad_(False)
    assert list(parameters_of(model, without="^(embed|head)")) == ["head.bias"]
    assert list(parameters_of(model, without="^head")) == ["embed.weight", "head.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("head.bias"), r"x.file: 1 parameters are missing, for example head.bias"),
        (lambda found: found.update(odd=torch.zeros(1)), r"x.file: 1 parameters are unknown, for example odd"),
        (lambda found: found.update({"head.bias": torch.zeros(5)}), r"of another shape, for example head.bias"),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(change, message):
    model = Tied()
    before = model.embed.weight.clone()
    found = {n: torch.ones_like(p) for n, p in parameters_of(model).items()}
    change(found)
    with pytest.raises(ValueError, match=message):
        fill(model, found, "x.file")
    assert torch.equal(model.embed.weight, before)


def test_a_damaged_or_missing_file_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(FileNotFoundError, match=r"m\.safetensors: no such model file"):
        load_parameters(Tied(), path)
    save_parameters(parameters_of(Tied()), path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"m\.safetensors: not a safetensors file"):
        load_parameters(Tied(), path)


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.safetensors"
    model = Tied()
    save_parameters(parameters_of(model), path)
    before = path.read_bytes()
    with file_size_limit(100), pytest.raises(OSError, match=r"m\.safetensors"):
        save_parameters(parameters_of(model), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
