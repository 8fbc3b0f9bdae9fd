"""CTC units: Han characters and letters, never BPE pieces. Id 0 is the blank."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from osum.outputs import atomic_write
from osum.text.normalize import is_han, join_units, split_units

BLANK = "<blank>"
BOUNDARY = "|"
"""Between two words of letters."""


@dataclass(frozen=True)
class CtcUnits:
    """A closed inventory of units; the position of a symbol is its id."""

    symbols: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of units, with the blank."""
        return len(self.symbols)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids by symbol."""
        return {symbol: n for n, symbol in enumerate(self.symbols)}

    @classmethod
    def build(cls, texts: Iterable[str]) -> CtcUnits:
        """Collect the units of training transcripts: blank, boundary, then all symbols in code-point order."""
        seen = {symbol for text in texts for symbol in _symbols(text)}
        return cls((BLANK, BOUNDARY, *sorted(seen - {BOUNDARY})))

    @classmethod
    def load(cls, path: Path) -> CtcUnits:
        """Read `units.txt`: one `symbol id` a line, ids from 0. ValueError names the line."""
        symbols = []
        for n, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            symbol, _, number = line.rpartition(" ")
            if number != str(n) or not symbol:
                raise ValueError(f"{path}:{n + 1}: expected 'symbol {n}', found {line!r}; run the annotate stage again")
            symbols.append(symbol)
        if symbols[:2] != [BLANK, BOUNDARY]:
            raise ValueError(f"{path}: the first two units must be {BLANK} and {BOUNDARY}")
        return cls(tuple(symbols))

    def save(self, path: Path) -> None:
        """Write `units.txt`, whole or not at all."""
        atomic_write(path, "".join(f"{symbol} {n}\n" for n, symbol in enumerate(self.symbols)))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a transcript; tags and punctuation are left out, unknown characters are dropped."""
        return [self.ids[symbol] for symbol in _symbols(text) if symbol in self.ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids from which blanks and repetitions are already removed."""
        return join_units(split_units("".join(self.symbols[n].replace(BOUNDARY, " ") for n in ids)))


def _symbols(text: str) -> list[str]:
    symbols: list[str] = []
    after_word = False
    for unit in split_units(text):
        word = not is_han(unit)
        if word and after_word:
            symbols.append(BOUNDARY)
        symbols.extend(unit)
        after_word = word
    return symbols
