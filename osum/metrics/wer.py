"""Word, character and mixed error rates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import kaldialign

from osum.text.normalize import split_units


@dataclass(frozen=True)
class Errors:
    """Edit operations over some utterances, and the number of reference units."""

    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0
    num_ref_units: int = 0

    def __add__(self, other: Errors) -> Errors:
        """Return the sum over both sets of utterances."""
        return Errors(
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.substitutions + other.substitutions,
            self.num_ref_units + other.num_ref_units,
        )

    @property
    def rate(self) -> float | None:
        """Errors per reference unit (may exceed 1); None without reference units."""
        errors = self.insertions + self.deletions + self.substitutions
        return errors / self.num_ref_units if self.num_ref_units else None


def count_errors(ref: str, hyp: str) -> Errors:
    """Align two texts, normalised by `split_units`, with the least number of edits."""
    ref_units, hyp_units = split_units(ref), split_units(hyp)
    edits = kaldialign.edit_distance(ref_units, hyp_units)
    return Errors(edits["ins"], edits["del"], edits["sub"], len(ref_units))


def error_rate(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Return the error rate of a set: all errors of (reference, hypothesis) pairs by all reference units."""
    return sum((count_errors(ref, hyp) for ref, hyp in pairs), Errors()).rate
