"""One cell of an epoch: its rows, what is drawn for them, and their packs. Pure, and alone: no other cell is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from osum.data.hashing import mix, salt
from osum.data.plan.balance import deal, deal_all, totals
from osum.data.plan.config import PlanConfig
from osum.data.plan.draws import Draws, num_visits, usable
from osum.data.plan.layout import Part
from osum.data.plan.lengths import Lengths
from osum.data.plan.packing import first_fit
from osum.data.plan.packs import Packs
from osum.data.plan.survey import Survey, pack_budget
from osum.data.plan.uses import Uses, draw_uses


@dataclass(frozen=True)
class CellItems:
    """What a cell holds; n items."""

    rows: np.ndarray
    copies: np.ndarray
    uses: Uses
    noise: np.ndarray
    """(n,) draws in [0, 1) for whatever the packing leaves open."""


def draw_items(
    lengths: Lengths, survey: Survey, cfg: PlanConfig, weights: np.ndarray, parts: Sequence[Part], seed: int, epoch: int
) -> CellItems:
    """Read the rows of some visits and draw what each is used for. `weights` are those of the corpora."""
    ranges = [(int(survey.starts[p.run]), int(survey.starts[p.run + 1])) for p in parts]
    sizes = [b - a for a, b in ranges]
    ends = np.cumsum(sizes)
    found = lengths.part(ranges)
    copies = np.repeat([p.copy for p in parts], sizes)
    sets = usable(found, cfg).sets
    hashes = found.rows["key_hash"]
    visits = num_visits(weights[found.rows["corpus"]], hashes, seed, epoch)
    here = np.concatenate([_in_part(p, hashes[e - n : e], seed, epoch) for p, n, e in zip(parts, sizes, ends)])
    keep = np.flatnonzero(here & (sets > 0) & (copies < visits))
    draws = Draws(hashes[keep], copies[keep], seed, epoch)
    uses = draw_uses(found, keep, sets, draws, survey.mix, cfg)
    rows = np.concatenate([np.arange(a, b) for a, b in ranges])[keep]
    return CellItems(rows, copies[keep], uses, draws.uniform("order"))


def _in_part(part: Part, key_hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """(n,) hashes of the rows of a run -> (n,) bool which belong to this part of a visit: a share of them, drawn."""
    if part.lower == 0.0 and part.upper == 1.0:
        return np.ones(len(key_hashes), dtype=bool)
    draws = Draws(key_hashes, np.full(len(key_hashes), part.copy), seed, epoch).bits("place")
    share = np.empty(len(key_hashes))
    share[np.argsort(draws, kind="stable")] = (np.arange(len(draws)) + 0.5) / len(draws)
    return (share >= part.lower) & (share < part.upper)


@dataclass(frozen=True)
class Cell:
    """The packs of a cell: `num_steps * num_ranks`, step after step, then extra ones that no step has room for."""

    packs: Packs
    num_steps: int
    num_extra: int


def pack_cell(
    items: CellItems, cfg: PlanConfig, task_names: tuple[str, ...], num_ranks: int, num_steps: int | None, key: str
) -> Cell:
    """Pack the items for so many steps and virtual ranks, or for as few steps as can hold them.

    Packs of a step cost alike, in a lane as in all lanes of a window, whose steps `key` shuffles in the same way.
    """
    budget, sizes = pack_budget(cfg), items.uses.sizes
    if num_steps is None:
        owner, num_packs = deal_all(sizes, budget, num_ranks, items.noise)
        num_steps = num_packs // num_ranks
    else:
        num_packs = num_steps * num_ranks
        owner = deal(sizes, budget, num_packs, items.noise)
    ranked = np.argsort(totals(sizes.costs, owner, num_packs), kind="stable").reshape(num_steps, num_ranks)
    steps = np.argsort(mix(np.arange(num_steps, dtype=np.uint64), salt("steps", key)), kind="stable")
    slots = mix(ranked.astype(np.uint64), salt("slots", key)).argsort(axis=1, kind="stable")
    place = np.empty(num_packs, dtype=np.int64)
    place[ranked] = steps[:, None] * num_ranks + slots
    left = np.flatnonzero(owner < 0)
    extra = first_fit(sizes.tokens[left], sizes.samples[left], budget.tokens, budget.samples)
    position = place[owner]
    for number, members in enumerate(extra):
        position[left[members]] = num_packs + number
    return Cell(_in_order(items, task_names, position, num_packs + len(extra)), num_steps, len(extra))


def _in_order(items: CellItems, task_names: tuple[str, ...], position: np.ndarray, num_packs: int) -> Packs:
    """Collect packs from the pack number of each item; a pack is in the order of rows, as it is read best."""
    order = np.argsort(position.astype(np.uint16) if num_packs <= 65_536 else position, kind="stable")
    return Packs(
        task_names,
        items.rows[order].astype(np.uint32),
        items.uses.tasks[order].astype(np.uint8),
        items.uses.prompts[order].astype(np.uint16),
        items.copies[order].astype(np.uint16),
        items.uses.speeds[order],
        np.cumsum(np.bincount(position, minlength=num_packs)),
    )
