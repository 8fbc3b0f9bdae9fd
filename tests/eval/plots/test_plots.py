"""Pictures: they are PNGs, they need no font that is not there, and what is shown is what was counted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from osum.eval.curves import Curves, Points
from osum.eval.plots import canvas
from osum.eval.plots.confusion import confusion
from osum.eval.plots.curves import _per_task, smoothed, training
from osum.eval.plots.overview import Bar, overview
from osum.eval.plots.timeline import Timeline, timeline, timeline_legend

pytestmark = pytest.mark.filterwarnings("error:Glyph")


def size_of(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_labels_without_glyphs_get_glosses_or_numbers() -> None:
    assert canvas.drawn_labels(["happy", "客服", "新词"]) == ["happy", "customer service", "#3"]
    assert canvas.legend(["happy", "客服", "新词"]) == "customer service = 客服, #3 = 新词"
    assert canvas.legend(["female"]) == ""
    assert not canvas.drawable("")


def test_confusion_leaves_out_unused_labels() -> None:
    full = confusion("t", ["a", "b", "客服"], [[1, 0, 2], [0, 3, 0], [1, 0, 1]])
    assert full == confusion("t", ["a", "b", "客服", "d"], np.pad([[1, 0, 2], [0, 3, 0], [1, 0, 1]], (0, 1)).tolist())
    assert size_of(full)[0] > 200
    with pytest.raises(ValueError, match="t: the confusion matrix is empty"):
        confusion("t", ["a"], [[0]])


def test_timeline_numbers_what_the_font_lacks() -> None:
    lines = [Timeline("a", 1.0, [("你", 0.1, 0.3), ("ok", 0.3, 0.5)], [("好", 0.1, 0.2)]), Timeline("文", 1.0, [], [])]
    assert timeline_legend(lines) == "1 = 你, 2 = 好"
    assert size_of(timeline(lines))[0] > 500


def test_overview_without_some_figures() -> None:
    assert size_of(overview("test", [Bar("asr", 0.9, None, None, None), Bar("ser", None, None, 0.2, 0.3)]))[0] > 500


def test_lines_look_different_and_the_first_ones_differ_by_colour_alone() -> None:
    looks = [canvas.line_look(n) for n in range(30)]
    assert len(set(looks)) == 30
    assert looks[:10] == [(colour, "solid") for colour in canvas.SERIES]


def test_the_legend_of_many_tasks_stands_beside_their_lines() -> None:
    points = Points(np.arange(1, 4), np.ones(3))
    curves = Curves({("dev", f"loss.only:task{n:02d}"): points for n in range(20)})
    with canvas.figure(6.0, 3.1) as fig:
        axes = fig.add_subplot()
        _per_task(axes, curves)
        fig.draw_without_rendering()
        legend = axes.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == curves.tasks("dev")
        assert legend.get_window_extent().x0 >= axes.get_window_extent().x1
        assert legend.get_window_extent().x1 <= fig.bbox.x1


def test_training_curves() -> None:
    steps = np.arange(1, 101)
    loss = Points(steps, np.geomspace(8.0, 0.1, 100))
    full = Curves({("train", "loss"): loss, ("dev", "loss"): loss, ("dev", "loss.asr"): loss, ("train", "lr"): loss})
    assert size_of(training("sulm", full))[0] > 900
    assert training("sulm", Curves({**full.series, ("dev", "speech_rank"): loss})) != training("sulm", full)
    assert size_of(training("sulm", Curves({})))[0] > 900


def test_smoothing_starts_unbiased_and_skips_nan() -> None:
    assert smoothed(np.full(200, 3.0)).tolist() == pytest.approx([3.0] * 200)
    assert smoothed(np.array([2.0, np.nan, 2.0])).tolist() == pytest.approx([2.0, 2.0, 2.0])
    assert np.isnan(smoothed(np.array([np.nan, 1.0]))[0])
