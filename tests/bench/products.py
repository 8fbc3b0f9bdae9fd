"""Products of a linear layer through oneDNN against PyTorch's own (MKL), for lengths seen before and for new ones.

    python tests/bench/products.py [--quick]

A pack of utterances has a length of its own nearly every time. By processor time of one thread, rounds alternating;
ratios are PyTorch's time by oneDNN's, over 1 where oneDNN is faster. `few` is that for the tokens of texts that are
written together, by wall time of all threads, and `large` for a minute of audio in a wide encoder, each time of another
length, in a process for each way; `turned` is oneDNN's time with these rows on the left by that with them
on the right. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from bench import Worker, interleave, report
from torch import Tensor
from torch.nn.functional import linear

from osum.model.onednn import FEW as TURNED
from osum.model.onednn import is_faster, multiply, product

WIDTHS = (128, 256)
"""Of a layer of `mini`: in, out."""
NUM_PRODUCTS = 60
FEW, FEW_WIDTHS = (1, 16, 32, 64, 96, 128), (512, 2048)
"""Rows and layer of `few`."""
LARGE, NUM_LARGE = 3000, 6
"""Rows of `large`, in the same layer, and products."""


class _Large:
    """One way to multiply many rows."""

    def __init__(self, way: str) -> None:
        self._multiply = {"onednn": multiply, "torch": linear}[way]
        self._weight = torch.randn(FEW_WIDTHS[1], FEW_WIDTHS[0])

    def milliseconds(self, number: int) -> float:
        """Return the mean time of a product of the round."""
        inputs = [torch.randn(LARGE + NUM_LARGE * number + n, FEW_WIDTHS[0]) for n in range(-1, NUM_LARGE)]
        self._multiply(inputs[0], self._weight)  # threads start, memory is asked for
        start_s = time.perf_counter()
        for rows in inputs[1:]:
            self._multiply(rows, self._weight)
        return (time.perf_counter() - start_s) / NUM_LARGE * 1000


def main() -> None:
    """Time both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    num_rounds = 3 if parser.parse_args().quick else 9
    num_threads = torch.get_num_threads()
    weights = {widths: torch.randn(widths[1], widths[0]) for widths in (WIDTHS, FEW_WIDTHS)}

    def milliseconds(
        way: Callable[[Tensor, Tensor], Tensor],
        first: int,
        step: int,
        widths: tuple[int, int] = WIDTHS,
        threads: int = 1,
        clock: Callable[[], float] = time.process_time,
    ) -> float:
        torch.set_num_threads(threads)
        inputs = [torch.randn(first + step * n, widths[0]) for n in range(NUM_PRODUCTS)]
        start_s = clock()
        for rows in inputs:
            way(rows, weights[widths])
        return (clock() - start_s) / NUM_PRODUCTS * 1000

    def few(way: Callable[[Tensor, Tensor], Tensor], rows: int) -> float:
        return milliseconds(way, rows, 0, FEW_WIDTHS, num_threads, time.perf_counter)

    def right(rows: Tensor, weight: Tensor) -> Tensor:
        return multiply(weight, rows).t().contiguous()

    workers = {way: Worker(_Large, way) for way in ("onednn", "torch")}
    sides = {
        # Each round has lengths that none before had, about as long.
        "onednn_new": lambda n: milliseconds(product, 700 + 60 * n, 1),
        "torch_new": lambda n: milliseconds(linear, 700 + 60 * n, 1),
        "onednn_seen": lambda n: milliseconds(product, 730 + 60 * n, 0),
        "torch_seen": lambda n: milliseconds(linear, 730 + 60 * n, 0),
        **{f"{way}_large": lambda n, worker=worker: worker.call("milliseconds", n) for way, worker in workers.items()},
        **{f"{rows}_torch": lambda n, rows=rows: few(linear, rows) for rows in FEW},
        **{f"{rows}_left": lambda n, rows=rows: few(multiply, rows) for rows in FEW},
        **{f"{rows}_right": lambda n, rows=rows: few(right, rows) for rows in FEW},
    }
    found = {name: round(statistics.median(values), 3) for name, values in interleave(sides, num_rounds).items()}
    for name, value in found.items():
        rows = LARGE if name.endswith("large") else name.split("_")[0] if name[0].isdigit() else "about 700"
        sizes = (rows, *(WIDTHS if name.endswith(("new", "seen")) else FEW_WIDTHS))
        print(f"{name} {value} ms a product of {' x '.join(map(str, sizes))}")
    kinds = ("new", "seen", "large")
    ratios = {f"ratio_{kind}": round(found[f"torch_{kind}"] / found[f"onednn_{kind}"], 2) for kind in kinds}
    used = {rows: found[f"{rows}_{'right' if is_faster() and rows in TURNED else 'left'}"] for rows in FEW}
    ratios["ratio_few"] = {rows: round(found[f"{rows}_torch"] / used[rows], 2) for rows in FEW}
    ratios["ratio_turned"] = {rows: round(found[f"{rows}_left"] / found[f"{rows}_right"], 2) for rows in FEW}
    report(benchmark="products", unit="ms", **ratios, **found, onednn_is_used_for_many=is_faster())


if __name__ == "__main__":
    main()
