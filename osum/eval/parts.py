"""Decoding in parts, side by side: each part answers the requests that hear its share of the audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from osum.data.drops import Drops
from osum.data.store.index import Index
from osum.eval import hypotheses

if TYPE_CHECKING:
    from osum.eval.requests import Request

K = TypeVar("K")


def share(index: Index, asked: Mapping[K, Sequence[Request]], part: int, num_parts: int) -> dict[K, list[Request]]:
    """Return the requests of a part, from 1 to `num_parts`.

    Requests for the same audio stay together: it is encoded once. Audio is dealt out by length, so that the parts
    take about as long.
    """
    heard = {request.audio_row for requests in asked.values() for request in requests}
    rows = sorted(heard, key=lambda row: (-int(index.rows[row]["num_samples"]), row))
    mine = set(rows[part - 1 :: num_parts])
    return {kind: [request for request in requests if request.audio_row in mine] for kind, requests in asked.items()}


def join_hypotheses(parts: Sequence[Path], shards_dir: Path, out: Path) -> Drops:
    """Write the hypotheses of all parts into `out` as if they had been decoded together; return all their drops."""
    drops = Drops()
    for part in parts:
        drops.merge(Drops.load(part / "drops.json"))
    places: dict[str, dict[str, int]] = {}
    for name in sorted({path.name for part in parts for path in part.glob("*.jsonl")}):
        found = [hypotheses.read(part / name) for part in parts if (part / name).is_file()]
        test_set = found[0].test_set
        if test_set not in places:
            index = Index.open(shards_dir / test_set)
            places[test_set] = {index.key(row): row for row in range(len(index))}
        place = places[test_set]
        merged = tuple(sorted((h for s in found for h in s.hypotheses), key=lambda h: place[h.key]))
        hypotheses.write(out, replace(found[0], hypotheses=merged), expected=len(merged))
    return drops
