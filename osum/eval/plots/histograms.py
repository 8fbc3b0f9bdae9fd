"""How long utterances and transcripts are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from osum.eval.plots import canvas


def histograms(title: str, found: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Return a PNG with one histogram per name, each of counts (n,) and edges (n + 1,)."""
    with canvas.figure(7.2, 2.6) as fig:
        fig.suptitle(title)
        for number, (name, (counts, edges)) in enumerate(found.items(), start=1):
            axes = fig.add_subplot(1, len(found), number)
            axes.stairs(counts, edges, fill=True, color=canvas.MODEL)
            axes.set(title=name, ylabel="utterances" if number == 1 else "", xlim=(0, edges[-1]))
        return canvas.png(fig)
