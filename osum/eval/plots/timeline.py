"""Word times of a few utterances: reference above, hypothesis below, on one axis of seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osum.eval.plots import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Words = Sequence[tuple[str, float, float]]
"""(unit, start in s, end in s) in time order."""


@dataclass(frozen=True)
class Timeline:
    """Word times of one utterance."""

    title: str
    duration_s: float
    reference: Words
    hypothesis: Words


def timeline(lines: Sequence[Timeline]) -> bytes:
    """Return a PNG with one panel per utterance. Units that the font lacks appear as their number in the legend."""
    numbers = _numbers(lines)
    with canvas.figure(9.0, 0.35 + 1.25 * len(lines)) as fig:
        panels = fig.subplots(len(lines), squeeze=False)[:, 0]
        for axes, line in zip(panels, lines, strict=True):
            _draw(axes, line.reference, 1.0, canvas.REFERENCE, numbers)
            _draw(axes, line.hypothesis, 0.0, canvas.MODEL, numbers)
            axes.set_title(line.title if canvas.drawable(line.title) else "")
            axes.set(xlim=(0.0, line.duration_s), ylim=(-0.5, 1.5))
            axes.set_yticks([1.0, 0.0], ["reference", "model"])
            axes.tick_params(length=0)
            axes.grid(visible=False, axis="y")
        panels[-1].set_xlabel("time (s)")
        return canvas.png(fig)


def timeline_legend(lines: Sequence[Timeline]) -> str:
    """Return what the numbers in the picture stand for, such as `1 = 你, 2 = 好`; "" when there are none."""
    return ", ".join(f"{number} = {unit}" for unit, number in _numbers(lines).items())


def _numbers(lines: Sequence[Timeline]) -> dict[str, str]:
    units = [unit for line in lines for words in (line.reference, line.hypothesis) for unit, _, _ in words]
    absent = dict.fromkeys(unit for unit in units if not canvas.drawable(unit))
    return {unit: str(number) for number, unit in enumerate(absent, start=1)}


def _draw(axes: Axes, words: Words, height: float, colour: str, numbers: dict[str, str]) -> None:
    for unit, start_s, end_s in words:
        width_s = max(end_s - start_s, 0.01)
        axes.barh(height, width_s, left=start_s, height=0.72, color=colour, alpha=0.22, edgecolor=colour, linewidth=1.0)
        text = axes.text(
            start_s + width_s / 2, height, numbers.get(unit, unit), ha="center", va="center", fontsize=8, clip_on=True
        )
        text.set_in_layout(False)
