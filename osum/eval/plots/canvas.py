"""What all pictures share: one look, PNG bytes without a display, and labels that the font can draw."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL = "#2f6fb3"
SWAPPED = "#e08214"
REFERENCE = "#5b6670"
FAINT = "#c9d1d9"
INK = "#24292f"
SERIES = ("#2f6fb3", "#e08214", "#2a9d6f", "#c44e52", "#8065b0", "#8c6d4f", "#d070a8", "#7f8c8d", "#b5a52b", "#3bb3c3")
"""Distinguishable also with the common colour-vision deficiencies, in this order."""
LINE_STYLES = ("solid", (0, (4, 1.2)), (0, (1, 1)))
"""Where lines outnumber the colours: solid for the first of a colour, dashed for the second, dotted for the third."""

GLOSSES = {
    "新闻科普": "news, science",
    "恐怖故事": "horror story",
    "童话故事": "fairy tale",
    "客服": "customer service",
    "诗歌散文": "poetry, prose",
    "有声书": "audiobook",
    "日常口语": "everyday speech",
    "其他": "other",
}
"""English beside the Chinese labels: a bare machine has no font with Han characters."""

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8ecf0",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 130,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
}


def line_look(number: int) -> tuple[str, str | tuple[int, tuple[float, float]]]:
    """Return colour and line style of a picture's line by its number from 0; 30 lines look different."""
    repeats, colour = divmod(number, len(SERIES))
    return SERIES[colour], LINE_STYLES[repeats % len(LINE_STYLES)]


@contextmanager
def figure(width_in: float, height_in: float) -> Iterator[Figure]:
    """Yield an empty figure in the report's look. It belongs to no pyplot state and needs no display."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width_in, height_in), layout="constrained")


def png(fig: Figure) -> bytes:
    """Return the figure as a PNG. Call it inside the `with figure(...)` that made it."""
    buffer = io.BytesIO()
    # Without the writer's version the same data gives the same bytes on every machine with the same matplotlib.
    fig.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def drawable(text: str) -> bool:
    """Return whether the pictures' font has every character of the text."""
    return bool(text) and all(ord(char) in _glyphs() for char in text)


def drawn_labels(labels: Sequence[str]) -> list[str]:
    """Return the labels as pictures can show them: themselves, their English gloss, or their number from 1 (`#2`)."""
    return [label if drawable(label) else GLOSSES.get(label, f"#{i}") for i, label in enumerate(labels, start=1)]


def legend(labels: Sequence[str]) -> str:
    """Return what the drawn labels stand for, such as `customer service = 客服`; "" when they stand for themselves."""
    pairs = zip(drawn_labels(labels), labels, strict=True)
    return ", ".join(f"{drawn} = {label}" for drawn, label in pairs if drawn != label)
