"""Logging of every stage: one event a line on stderr, and errors of the user as one line with a place."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm


class BarFriendlyHandler(logging.StreamHandler):
    """A handler whose lines appear above the progress bars of tqdm, not in the middle of one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, with the bars out of the way."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def setup(rank: int = 0) -> None:
    """Send records of the `osum` logger to stderr; ranks other than 0 report errors only."""
    logger = logging.getLogger("osum")
    if not logger.handlers:
        handler = BarFriendlyHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.INFO if rank == 0 else logging.ERROR)


def get(name: str) -> logging.Logger:
    """Return the logger of a module, below `osum`."""
    return logging.getLogger(name if name.startswith("osum") else f"osum.{name}")


def progress(iterable: Iterable[Any] | None = None, *, desc: str, unit: str, rank: int = 0, **options: Any) -> tqdm:
    """Return a progress bar with the time left, on stderr; nothing on ranks other than 0.

    The environment variable TQDM_DISABLE=1 hides it: launchers set it when nobody watches.
    """
    if rank != 0:
        options["disable"] = True
    return tqdm(iterable, desc=desc, unit=unit, mininterval=1.0, **options)


def run_main(main: Callable[[], None]) -> None:
    """Run a stage's main: a mistake in data, options or the file system becomes one line and exit status 1."""
    setup()
    try:
        main()
    except (ValueError, OSError) as err:
        frame = traceback.extract_tb(err.__traceback__)[-1]
        message = " ".join(str(err).split("\n"))
        get("osum").error("%s [%s:%d]", message, Path(frame.filename).name, frame.lineno)
        sys.exit(1)
