"""The plan as it was before cells: a whole epoch drawn, shuffled in blocks of shards and packed first-fit at once."""

from __future__ import annotations

import numpy as np

from osum.data.hashing import mix, salt
from osum.data.plan.config import PlanConfig
from osum.data.plan.draws import Draws, usable
from osum.data.plan.lengths import Lengths, num_samples
from osum.data.plan.packing import complete, first_fit
from osum.data.plan.shares import TaskMix
from osum.data.plan.survey import pack_budget
from osum.data.store.index import Index

BLOCK_SHARDS = 8


def plan_whole(index: Index, lengths: Lengths, cfg: PlanConfig, seed: int, epoch: int) -> list[list[int]]:
    """Return all packs of an epoch, as positions in its order."""
    sets = usable(lengths, cfg).sets
    rows = np.flatnonzero(sets)
    draws = Draws(index.rows["key_hash"][rows], np.zeros(len(rows), dtype=np.int64), seed, epoch)
    patterns, counts = np.unique(sets[rows], return_counts=True)
    weights = np.array([cfg.task_weights.get(t, 1.0) for t in lengths.tasks])
    tasks = TaskMix.fit(patterns, counts, weights).draw(sets[rows], draws.uniform("task"))
    num_prompts = lengths.num_prompts[tasks, index.rows["language"][rows]]
    prompts = (draws.uniform("prompt") * num_prompts).astype(np.int64)
    hashes = mix(np.arange(len(index.header.shards), dtype=np.uint64), salt("shard", seed, epoch))
    block = np.argsort(np.argsort(hashes)) // BLOCK_SHARDS
    order = np.lexsort((draws.bits("order"), block[index.rows["shard"][rows]]))
    tokens = lengths.positions(rows[order], tasks[order], prompts[order])
    budget = pack_budget(cfg)
    packs = first_fit(tokens, num_samples(index.rows)[rows[order]], budget.tokens, budget.samples)
    return complete(packs, cfg.virtual_ranks)
