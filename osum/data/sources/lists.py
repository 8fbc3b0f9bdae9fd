"""Lists and manifests, line by line, plain or gzipped."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from osum.data.sources.entries import Part
from osum.data.store.storage import Storage, is_remote

MAX_LINE_BYTES = 2**24
"""A longer line is read as several, none of which can be parsed."""
LINES_PER_PART = 1000


def parts(path: Path, lines_per_part: int = LINES_PER_PART) -> Iterator[Part]:
    """Yield a list in pieces; blank lines are passed over. ValueError naming the file if it is missing or damaged."""
    lines = _lines(path)
    while piece := list(islice(lines, lines_per_part)):
        yield Part(path, tuple(piece))


def tar_parts(path: Path) -> Iterator[Part]:
    """Yield each tar of a list as a piece of its own. ValueError as `parts`."""
    return parts(path, lines_per_part=1)


def tar_path(part: Part, storage: Storage, root: str | None) -> str:
    """Return the path or address of the tar that a piece of a list names. ValueError if it can't be opened."""
    ((number, line),) = part.lines
    try:
        path = resolve(line.decode("utf-8").strip(), root)
        storage.size(path)
    except (OSError, ValueError) as err:
        raise ValueError(f"{part.path}:{number}: this tar can't be opened ({err}); correct the list") from err
    return path


def resolve(path: str, root: str | None) -> str:
    """Return an address as it is, and a path from `root` (or the working folder) on. ValueError if there is no path."""
    if "\0" in path or not path:
        raise ValueError("empty, or with a null character")
    if is_remote(path):
        return path
    if root is not None and is_remote(root) and not os.path.isabs(path):
        return f"{root.rstrip('/')}/{path}"
    return os.path.abspath(os.path.join(root or "", path))


def objects(part: Part) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield (`file:line`, JSON object) of each line, None where it is not one in UTF-8."""
    for number, line in part.lines:
        yield f"{part.path}:{number}", json_object(line)


def json_object(content: bytes) -> dict[str, Any] | None:
    """Return a JSON object, None if it is not one in UTF-8."""
    try:
        value = json.loads(content.decode("utf-8"))
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails for halves of surrogate pairs
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as f:
            number = 0
            while line := f.readline(MAX_LINE_BYTES):
                number += 1
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; correct the path of the source") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as err:
        raise ValueError(f"{path}: damaged ({err}); fetch or make it again") from err
