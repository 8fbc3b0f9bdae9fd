"""Confusion matrix of a tag task: rows are references, columns are what the model wrote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from osum.eval.plots import canvas


def confusion(title: str, labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> bytes:
    """Return a PNG of `matrix` (R, C) counts with R <= C <= len(labels): shade is the share of the row.

    Rows and columns without a single count are left out. ValueError when the matrix holds no count at all.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    if counts.size == 0 or counts.sum() == 0:
        raise ValueError(f"{title}: the confusion matrix is empty")
    names = canvas.drawn_labels(labels)
    rows, cols = np.flatnonzero(counts.sum(axis=1)), np.flatnonzero(counts.sum(axis=0))
    # A square picture keeps the diagonal a diagonal: a label that is only ever referred to still gets a column.
    cols = np.union1d(rows, cols)
    shown = counts[np.ix_(rows, cols)]
    shares = shown / shown.sum(axis=1, keepdims=True)
    cell_in = 0.55 if len(cols) > 3 else 0.75
    with canvas.figure(1.9 + cell_in * len(cols), 1.5 + cell_in * len(rows)) as fig:
        axes = fig.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
        for row, col in np.ndindex(*shares.shape):
            if shown[row, col]:
                colour = "white" if shares[row, col] > 0.55 else canvas.INK
                axes.text(col, row, f"{shown[row, col]}", ha="center", va="center", color=colour)
        axes.set_xticks(range(len(cols)), [names[c] for c in cols], rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), [names[r] for r in rows])
        axes.set(title=title, xlabel="model", ylabel="reference")
        axes.grid(visible=False)
        axes.tick_params(length=0)
        return canvas.png(fig)
