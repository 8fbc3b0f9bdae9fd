import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from osum.model.convert.checkpoint import read_folder, read_state

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "b.bias": torch.zeros(2)}


class Dangerous:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def same(found, wanted=STATE):
    return found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in wanted)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_read_from_either_form_of_torch(tmp_path, zipped):
    torch.save(STATE, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    assert same(read_state(tmp_path / "m.pt"))


def test_the_prefix_of_ddp_goes_where_all_have_it(tmp_path):
    torch.save({f"module.{n}": v for n, v in STATE.items()}, tmp_path / "m.pt")
    assert same(read_state(tmp_path / "m.pt"))


def test_safetensors_and_sharded_folders_are_read(tmp_path):
    for n, name in enumerate(STATE):
        save_file({name: STATE[name]}, tmp_path / f"model-{n}.safetensors")
    weight_map = {name: f"model-{n}.safetensors" for n, name in enumerate(STATE)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert same(read_folder(tmp_path))
    assert same(read_state(tmp_path / "model-0.safetensors"), {"a.weight": STATE["a.weight"]})


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, zipped):
    made = tmp_path / "made-by-unpickling"
    torch.save({"a": Dangerous(made)}, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"m.pt: not a file of weights .*nothing in it was run"):
        read_state(tmp_path / "m.pt")
    assert not made.exists()


def test_a_plain_pickle_is_refused_and_not_run(tmp_path):
    made = tmp_path / "made-by-unpickling"
    (tmp_path / "m.pt").write_bytes(pickle.dumps({"a": Dangerous(made)}))
    with pytest.raises(ValueError, match=r"m.pt: not a file of weights"):
        read_state(tmp_path / "m.pt")
    assert not made.exists()


@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04 not a zip", b'{"a": 1}'])
@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_other_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: not a (file of weights|safetensors file)"):
        read_state(tmp_path / name)


def test_a_cut_checkpoint_is_named(tmp_path):
    torch.save({"a": torch.zeros(10_000)}, tmp_path / "m.pt")
    whole = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "m.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"m.pt: not a file of weights"):
        read_state(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([torch.zeros(1)], "expected tensors by name, found list"),
        ({}, "expected tensors by name, found nothing"),
        ({"model": STATE, "epoch": 3}, r"2 entries are not tensors: 'model' \(dict\), 'epoch' \(int\); save"),
    ],
)  # fmt: skip
def test_what_is_not_tensors_by_name_is_described(tmp_path, held, message):
    torch.save(held, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=message):
        read_state(tmp_path / "m.pt")


def test_missing_places_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"m.pt: no such checkpoint"):
        read_state(tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"a folder; give the checkpoint file in it"):
        read_state(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no weights; expected one of model.safetensors.index.json"):
        read_folder(tmp_path)
