"""Accumulated averaging shift of word times (arXiv 2301.12343)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import kaldialign

TimedUnit = tuple[str, float, float]
"""(unit, start in s, end in s)"""

GAP = "<gap>"
TOLERANCES_MS = (50, 100, 200)


def match(ref: Sequence[TimedUnit], hyp: Sequence[TimedUnit]) -> list[tuple[TimedUnit, TimedUnit]]:
    """Return the pairs of equal units in a least-edit alignment of two timed sequences."""
    pairs, ref_left, hyp_left = [], iter(ref), iter(hyp)
    for r, h in kaldialign.align([u for u, _, _ in ref], [u for u, _, _ in hyp], GAP):
        ref_unit = next(ref_left) if r != GAP else None
        hyp_unit = next(hyp_left) if h != GAP else None
        if ref_unit is not None and hyp_unit is not None and r == h:
            pairs.append((ref_unit, hyp_unit))
    return pairs


def shift_scores(utterances: Iterable[tuple[Sequence[TimedUnit], Sequence[TimedUnit]]]) -> dict[str, Any]:
    """Score (reference, hypothesis) pairs of timed units.

    `aas_ms`: sum of |start shift| + |end shift| over matched units, divided by their number (`aas_half_ms` is
    half of it); `coverage`: matched by reference units; `within_N_ms`: share of the starts and ends of matched
    units that lie within N ms. None where nothing matched.
    """
    num_ref_units, shifts_ms = 0, []
    for ref, hyp in utterances:
        num_ref_units += len(ref)
        for (_, ref_start, ref_end), (_, hyp_start, hyp_end) in match(ref, hyp):
            shifts_ms += [abs(hyp_start - ref_start) * 1000, abs(hyp_end - ref_end) * 1000]
    num_matched = len(shifts_ms) // 2
    half = sum(shifts_ms) / len(shifts_ms) if shifts_ms else None
    # Times are decimal tenths in binary floats: 0.15 - 0.1 must count as 50 ms.
    within = {
        f"within_{tolerance}_ms": sum(s <= tolerance + 1e-6 for s in shifts_ms) / len(shifts_ms) if shifts_ms else None
        for tolerance in TOLERANCES_MS
    }
    return {
        "aas_ms": None if half is None else 2 * half,
        "aas_half_ms": half,
        "coverage": num_matched / num_ref_units if num_ref_units else None,
        **within,
    }
