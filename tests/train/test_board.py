"""TensorBoard is optional: what it is given where it is installed, and what is said where it is not."""

import sys

import pytest

from osum.train.board import Board


def test_without_the_package_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(
        ValueError, match=r"train.tensorboard: the package is not there; pip install 'osum\[tensorboard\]"
    ):
        Board(tmp_path, start_step=0)


def test_values_become_curves(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is optional, and not installed"
    )
    Board(tmp_path, start_step=0).write("train", 5, {"loss": 2.0, "loss.asr": 1.0})
    found = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(5, 2.0)]
    assert found.Tags()["scalars"] == ["train/loss", "train/loss.asr"]


def test_texts_are_shown_as_they_are(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is optional, and not installed"
    )
    texts = {"reference": "hi<happy>", "hypothesis": "*hi*"}
    Board(tmp_path, start_step=0).write_texts("dev/ser/a", 5, texts)
    found = accumulator.EventAccumulator(str(tmp_path)).Reload()
    (event,) = found.Tensors("dev/ser/a/text_summary")
    shown = event.tensor_proto.string_val[0].decode()
    assert (event.step, shown) == (5, "    reference: hi<happy>\n    hypothesis: *hi*")
