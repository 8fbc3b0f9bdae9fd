"""Reading lists row by row, so that one bad line is one counted defect."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class BadRow(Exception):  # noqa: N818 - a verdict on a row, not an error of the program
    """A row that can't be used; the message is the reason in the drop ledger."""


def read_list(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Yield (line number from 1, row or what is wrong with it) of a .csv or .tsv table or a list of JSON objects.

    Null values, and the empty cells of a table, are left out of a row: they are unknown. So only JSON can say
    `"text": ""`, which means verified to hold no speech. ValueError if a table's header is unusable, FileNotFoundError
    if there is no file.
    """
    read = _read_table if path.suffix.lower() in _DELIMITERS else _read_json_lines
    yield from read(path)


def _read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    with open(path, "rb") as f:
        for number, line in enumerate(f, start=1):
            if not line.strip():
                continue
            yield number, _row(line)


def _row(line: bytes) -> dict[str, Any] | BadRow:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is JSON, but no text
    except (ValueError, RecursionError):
        return BadRow("not JSON in UTF-8")
    if not isinstance(row, dict):
        return BadRow("not a JSON object")
    return {name: value for name, value in row.items() if value is not None}


def _read_table(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as f:
        reader = csv.reader(f, delimiter=_DELIMITERS[path.suffix.lower()])
        header = [name.strip() for name in next(reader, [])]
        if not header or len(set(header)) < len(header) or "" in header:
            raise ValueError(f"{path}:1: the first line must name every column once, but it is {header}")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                yield reader.line_num, BadRow("number of cells differs from that of the header")
            elif any("\udc80" <= c <= "\udcff" for cell in cells for c in cell):
                yield reader.line_num, BadRow("not UTF-8")
            else:
                yield reader.line_num, {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
