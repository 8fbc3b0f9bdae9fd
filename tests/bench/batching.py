"""Batches of the two sides: the original's padded dynamic batches, and our packs.

From the description of the original: utterances pass a shuffle buffer, are sorted by length inside a sort buffer, and
neighbours form a batch until its padded frames or padded tokens would exceed a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from corpus import Spec
from torch import Tensor

from osum.audio.frames import num_mel_frames
from osum.data.plan.balance import Budget, Sizes, deal_all
from osum.rng import rng_for
from osum.text.template import IGNORED

SHUFFLE_BUFFER, SORT_BUFFER = 1500, 500
MAX_FRAMES, MAX_TOKENS = 3900, 1900


@dataclass
class PaddedBatch:
    """B utterances; audio is not padded, since features are made per utterance."""

    audio: list[Tensor]
    """B of (num_samples,)."""
    prompts: Tensor
    """(B, P) int64, 0 beyond each length."""
    prompt_lens: Tensor
    targets: Tensor
    """(B, K) int64 with the end token, IGNORED beyond each length."""
    target_lens: Tensor

    def to(self, device: str) -> PaddedBatch:
        """Return the batch on a device."""
        tensors = (self.prompts, self.prompt_lens, self.targets, self.target_lens)
        return PaddedBatch([a.to(device) for a in self.audio], *(t.to(device) for t in tensors))


def dynamic_batches(specs: Iterable[Spec], rng: np.random.Generator, share: float = 1.0) -> list[list[Spec]]:
    """Return the batches of one epoch; `share` scales both limits."""
    batches: list[list[Spec]] = []
    for group in _groups(_shuffled(specs, rng), SORT_BUFFER):
        current: list[Spec] = []
        for spec in sorted(group, key=lambda s: s.num_samples):
            if current and not _fits([*current, spec], share):
                batches.append(current)
                current = []
            current.append(spec)
        batches.append(current)
    return batches


def _fits(batch: Sequence[Spec], share: float) -> bool:
    frames = max(num_mel_frames(s.num_samples) for s in batch)
    tokens = max(len(s.target_ids) + 1 for s in batch)
    return frames * len(batch) <= MAX_FRAMES * share and tokens * len(batch) <= MAX_TOKENS * share


def _shuffled(specs: Iterable[Spec], rng: np.random.Generator) -> Iterator[Spec]:
    for group in _groups(specs, SHUFFLE_BUFFER):
        yield from (group[i] for i in rng.permutation(len(group)))


def _groups(specs: Iterable[Spec], size: int) -> Iterator[list[Spec]]:
    group: list[Spec] = []
    for spec in specs:
        group.append(spec)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def padded(batch: Sequence[Spec], eos_id: int) -> PaddedBatch:
    """Pad prompts and targets, each for itself."""
    prompts = [torch.tensor(s.prompt_ids) for s in batch]
    targets = [torch.tensor([*s.target_ids, eos_id]) for s in batch]
    pad = torch.nn.utils.rnn.pad_sequence
    return PaddedBatch(
        audio=[torch.from_numpy(s.example().audio) for s in batch],
        prompts=pad(prompts, batch_first=True),
        prompt_lens=torch.tensor([len(p) for p in prompts]),
        targets=pad(targets, batch_first=True, padding_value=IGNORED),
        target_lens=torch.tensor([len(t) for t in targets]),
    )


def packs(specs: Sequence[Spec], max_positions: int) -> list[list[Spec]]:
    """Our packs of up to so many decoder positions, alike in audio, by the package's own packing."""
    positions = np.array([s.num_positions for s in specs])
    samples = np.array([s.num_samples for s in specs])
    noise = rng_for("bench", "packs").random(len(specs))
    budget = Budget(tokens=max_positions, samples=int(samples.sum()))
    owner, num_packs = deal_all(Sizes(positions, samples, costs=samples), budget, 1, noise)
    found: list[list[Spec]] = [[] for _ in range(num_packs)]
    for spec, pack in zip(specs, owner.tolist(), strict=True):
        found[pack].append(spec)
    return found


def fill(packs: Sequence[Sequence[Spec]], max_positions: int) -> float:
    """Share of the packs' budget that real positions use."""
    return sum(s.num_positions for p in packs for s in p) / (len(packs) * max_positions)


def padding_share(batches: Sequence[Sequence[Spec]], length: Callable[[Spec], int]) -> float:
    """Share of padded batches that is padding, for one of the lengths of an utterance."""
    real = sum(length(s) for batch in batches for s in batch)
    return 1 - real / sum(len(batch) * max(length(s) for s in batch) for batch in batches)
