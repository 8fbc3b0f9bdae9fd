"""Ages in years as the classes that tasks know."""

from __future__ import annotations

from math import isfinite

CHILD_YEARS, ADULT_YEARS, OLD_YEARS = 13, 18, 60


def age_class(raw: str) -> str | None:
    """Return child, adult or old for a number of years, None for those between (14 to 17); other text as it is."""
    try:
        years = float(raw)
    except ValueError:
        return raw
    if not isfinite(years) or years < 0:
        return raw
    if years <= CHILD_YEARS:
        return "child"
    if years < ADULT_YEARS:
        return None
    return "old" if years >= OLD_YEARS else "adult"
