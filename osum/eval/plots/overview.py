"""All tasks at a glance: the model, the same model with swapped audio, and chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osum.eval.plots import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Bar:
    """One task's headline figure; every value is a rate from 0 to 1 or None where unknown."""

    name: str
    model: float | None
    swapped: float | None
    chance: float | None
    majority: float | None


def overview(title: str, bars: Sequence[Bar]) -> bytes:
    """Return a PNG with one row per bar, the first on top: the model and swapped audio joined, baselines as ticks."""
    with canvas.figure(7.2, 1.35 + 0.36 * len(bars)) as fig:
        axes = fig.add_subplot()
        for row, bar in enumerate(bars):
            if bar.model is not None and bar.swapped is not None:
                axes.plot([bar.swapped, bar.model], [row, row], color=canvas.FAINT, linewidth=3, zorder=1)
        _points(axes, [b.majority for b in bars], "majority class", canvas.REFERENCE, "|", 11)
        _points(axes, [b.chance for b in bars], "chance", canvas.REFERENCE, "x", 6)
        _points(axes, [b.swapped for b in bars], "swapped audio", canvas.SWAPPED, "o", 7)
        _points(axes, [b.model for b in bars], "model", canvas.MODEL, "o", 9)
        for row, bar in enumerate(bars):
            if bar.model is not None:
                axes.annotate(f"{100 * bar.model:.1f}", (1.02, row), xycoords=("axes fraction", "data"), va="center")
        axes.set_yticks(range(len(bars)), [b.name for b in bars])
        axes.set(title=title, xlim=(-0.02, 1.02), ylim=(len(bars) - 0.5, -0.5))
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0", "20", "40", "60", "80", "100 %"])
        axes.tick_params(length=0)
        fig.legend(loc="outside lower center", ncols=4)
        return canvas.png(fig)


def _points(axes: Axes, values: Sequence[float | None], label: str, colour: str, marker: str, size: int) -> None:
    shown = [(value, row) for row, value in enumerate(values) if value is not None]
    if shown:
        x, y = zip(*shown, strict=True)
        axes.plot(x, y, marker, color=colour, markersize=size, label=label, markeredgewidth=1.6, zorder=3)
