"""Curves of one training stage: loss, loss per task, learning rate and speech rank over steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from osum.eval.plots import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from osum.eval.curves import Curves, Points

SMOOTHING_SHARE = 0.02
"""Time constant of the running mean over the training loss, as a share of the logged points."""
LEGEND_ROWS = 16
"""Tasks below each other beside their lines."""


def training(title: str, curves: Curves) -> bytes:
    """Return a PNG: train and dev loss, loss per task (dev where logged), learning rate, speech rank if logged."""
    rank = curves.get("dev", "speech_rank")
    with canvas.figure(11.0, 3.1) as fig:
        mosaic = [["loss", "tasks", "rate"], ["loss", "tasks", "rate" if rank is None else "rank"]]
        panels = fig.subplot_mosaic(mosaic, width_ratios=(1.25, 1.25, 0.8))
        _loss(panels["loss"], curves)
        panels["loss"].set_title(f"{title}: loss")
        _per_task(panels["tasks"], curves)
        if (lr := curves.get("train", "lr")) is not None:
            panels["rate"].plot(lr.steps, lr.values, color=canvas.REFERENCE)
        panels["rate"].set_title("learning rate")
        if rank is not None:
            panels["rank"].plot(rank.steps, rank.values, color=canvas.SWAPPED, marker="o", markersize=3)
            panels["rank"].set_title("speech rank (dev)")
            panels["rank"].update_datalim([(0, 0)])  # the top is found for all from zero on
            panels["rank"].autoscale_view()
            panels["rank"].set_ylim(bottom=0)
        for name, axes in panels.items():
            if name != "rate" or rank is None:
                axes.set_xlabel("step")
            axes.set_xlim(left=0)
            axes.ticklabel_format(axis="x", style="plain", useOffset=False)
            axes.locator_params(axis="x", nbins=5)
        panels["rate"].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        return canvas.png(fig)


def _loss(axes: Axes, curves: Curves) -> None:
    if (train := curves.get("train", "loss")) is not None:
        axes.plot(train.steps, train.values, color=canvas.FAINT, linewidth=0.8)
        axes.plot(train.steps, smoothed(train.values), color=canvas.MODEL, label="train (running mean)")
    if (dev := curves.get("dev", "loss")) is not None:
        axes.plot(dev.steps, dev.values, color=canvas.SWAPPED, marker="o", markersize=3, label="dev")
    _scale(axes, [train, dev])
    axes.set_ylabel("loss (nats per token)")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _per_task(axes: Axes, curves: Curves) -> None:
    split = "dev" if curves.tasks("dev") else "train"
    axes.set_title(f"loss per task ({split})")
    shown = [(task, curves.get(split, f"loss.{task}")) for task in curves.tasks(split)]
    for i, (task, points) in enumerate(shown):
        values = points.values if split == "dev" else smoothed(points.values)
        colour, style = canvas.line_look(i)
        axes.plot(points.steps, values, color=colour, linestyle=style, label=task, linewidth=1.3)
    _scale(axes, [points for _, points in shown])
    if shown:
        columns = math.ceil(len(shown) / LEGEND_ROWS)
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.03), "borderaxespad": 0.2}  # beside: it hides no line
        axes.legend(**place, ncols=columns, fontsize=7.5, columnspacing=1.0, handlelength=2.2, labelspacing=0.25)


def _scale(axes: Axes, series: list[Points | None]) -> None:
    from matplotlib.ticker import LogLocator

    values = np.concatenate([points.values for points in series if points is not None] or [np.ones(1)])
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() / finite.min() > 20:
        axes.set_yscale("log")
        # Two decades hold too few powers of ten to read values off.
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")


def smoothed(values: np.ndarray) -> np.ndarray:
    """Return the running exponential mean of (n,) values, without bias towards the start; NaN counts for nothing."""
    decay = 1.0 - 1.0 / max(1.0, SMOOTHING_SHARE * len(values))
    mean, weight, out = 0.0, 0.0, np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if np.isfinite(value):
            mean, weight = decay * mean + (1 - decay) * value, decay * weight + (1 - decay)
        out[i] = mean / weight if weight else np.nan
    return out
