"""What reading a foreign source gives: utterances as they are labelled there, and losses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from osum.data.store.clips import WHOLE, Clip
from osum.types import Utterance

if TYPE_CHECKING:
    from lhotse import SupervisionSegment


@dataclass(frozen=True)
class Span:
    """Bytes that are one audio file: a file of its own, or a member of a tar."""

    path: str
    offset: int
    size: int


@dataclass(frozen=True)
class Found:
    """One utterance."""

    place: str
    """Where it was found, for people: the tar, or list and line."""
    key: str
    audio: Span
    about: SupervisionSegment | Utterance
    """Raw labels; an `Utterance` is canonical already and keeps its corpus."""
    clip: Clip = WHOLE
    notes: tuple[str, ...] = ()
    """What is remarkable about it although it can be used."""

    @property
    def name(self) -> str:
        """Key and place, for the ledger."""
        return f"{self.place}: {self.key}"


@dataclass(frozen=True)
class Lost:
    """What can't be used; everything that is read is a `Found` or a `Lost`."""

    name: str
    """Key and place, for the ledger."""
    reason: str
    defect: bool = True
    """False where nothing is wrong with the data."""


@dataclass(frozen=True)
class Part:
    """A piece of a source that is read in one go: a tar, or some lines of a list."""

    path: Path
    """The list or manifest."""
    lines: tuple[tuple[int, bytes], ...] = ()
    """Lines of the list with their numbers."""


Entry = Found | Lost
