"""Products of a linear layer through oneDNN against PyTorch's own (MKL), for lengths seen before and for new ones.

    python tests/bench/products.py [--quick]

A pack of utterances has a length of its own nearly every time. `few` compares two ways of oneDNN, for the tokens of 64
texts that are written together: rows on the left, and rows on the right, as `osum.model.onednn.product` has them. By
processor time of one thread, rounds alternating; ratios are PyTorch's time by oneDNN's, or that of the first way by
that of the second, over 1 where the latter is faster. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from bench import interleave, report
from torch import Tensor
from torch.nn.functional import linear

from osum.model.onednn import is_faster, multiply, product

WIDTHS = (128, 256)
"""Of a layer of `mini`: in, out."""
NUM_PRODUCTS = 60
FEW, FEW_WIDTHS = 64, (512, 2048)
"""Rows and layer of `few`."""


def main() -> None:
    """Time both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    num_rounds = 3 if parser.parse_args().quick else 9
    torch.set_num_threads(1)
    weights = {widths: torch.randn(widths[1], widths[0]) for widths in (WIDTHS, FEW_WIDTHS)}

    def milliseconds(
        way: Callable[[Tensor, Tensor], Tensor], first: int, step: int, widths: tuple[int, int] = WIDTHS
    ) -> float:
        inputs = [torch.randn(first + step * n, widths[0]) for n in range(NUM_PRODUCTS)]
        start_s = time.process_time()
        for rows in inputs:
            way(rows, weights[widths])
        return (time.process_time() - start_s) / NUM_PRODUCTS * 1000

    sides = {
        # Each round has lengths that none before had, about as long.
        "onednn_new": lambda n: milliseconds(product, 700 + 60 * n, 1),
        "torch_new": lambda n: milliseconds(linear, 700 + 60 * n, 1),
        "onednn_seen": lambda n: milliseconds(product, 730 + 60 * n, 0),
        "torch_seen": lambda n: milliseconds(linear, 730 + 60 * n, 0),
        "few_left": lambda n: milliseconds(multiply, FEW, 0, FEW_WIDTHS),
        "few_right": lambda n: milliseconds(product, FEW, 0, FEW_WIDTHS),
    }
    found = {name: round(statistics.median(values), 3) for name, values in interleave(sides, num_rounds).items()}
    for name, value in found.items():
        sizes = (FEW, *FEW_WIDTHS) if name.startswith("few") else ("about 1,000", *WIDTHS)
        print(f"{name} {value} ms a product of {' x '.join(map(str, sizes))}")
    ratios = {f"ratio_{kind}": round(found[f"torch_{kind}"] / found[f"onednn_{kind}"], 2) for kind in ("new", "seen")}
    ratios["ratio_few"] = round(found["few_left"] / found["few_right"], 2)
    report(benchmark="products", unit="ms", **ratios, **found, onednn_is_used=is_faster())


if __name__ == "__main__":
    main()
