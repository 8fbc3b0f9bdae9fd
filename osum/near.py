"""What an error proposes in place of a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NUM_NAMES = 5
"""How many are proposed."""


def near_names(wanted: str, names: Iterable[str]) -> str:
    """Return the names that resemble the wanted one, or the first ones if none does, for the end of a message."""
    names = list(names)
    found = difflib.get_close_matches(wanted, names, n=NUM_NAMES, cutoff=0.3) or names[:NUM_NAMES]
    return f"near names: {', '.join(found)}"
