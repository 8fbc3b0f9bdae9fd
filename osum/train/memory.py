"""What training needs of memory: counted, measured on the worst pack of a budget, and the largest budget that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from osum.audio.frames import MAX_SAMPLES, SAMPLE_RATE_HZ
from osum.data.load.collate import collate
from osum.data.plan.config import PlanConfig
from osum.text.template import Template
from osum.train.configs import OptimConfig
from osum.train.optim import is_for_muon
from osum.types import Batch, Example

FILLER = "啊"
"""Repeated, a target of any length."""
LOWERED = 0.75
"""The budget to try after a pack that did not fit, as a share of that pack."""


@dataclass(frozen=True)
class Standing:
    """Bytes that are there whatever the batch is."""

    frozen: int
    trained: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.frozen + self.trained + self.gradients + self.optimizer


def standing(model: nn.Module, cfg: OptimConfig, num_shards: int = 1) -> Standing:
    """Count what a process holds of a prepared model; with FSDP2 it has one of `num_shards` shards."""
    named = list(model.named_parameters())
    trained = {name: p for name, p in named if p.requires_grad}
    moments = {name: 1 if is_for_muon(name, p, cfg) else 2 for name, p in trained.items()}
    counts = Standing(
        frozen=sum(p.nbytes for _, p in named if not p.requires_grad),
        trained=sum(p.nbytes for p in trained.values()),
        gradients=sum(p.nbytes for p in trained.values()),
        optimizer=sum(moments[name] * p.nbytes for name, p in trained.items()),
    )
    return Standing(*(-(-n // num_shards) for n in (counts.frozen, counts.trained, counts.gradients, counts.optimizer)))


def worst_batch(
    template: Template, task: str, prompt: str, plan: PlanConfig, share: float = 1.0, max_positions: int | None = None
) -> Batch:
    """Return a pack that fills a share of both budgets: utterances as long as can be, and all other positions targets.

    An utterance has at most `max_positions`. ValueError if the budgets hold no utterance of that kind.
    """
    audio_s, num_tokens = plan.max_audio_s * share, int(plan.max_tokens * share)
    num_utterances = max(1, int(audio_s * SAMPLE_RATE_HZ // MAX_SAMPLES))
    if max_positions is not None:
        num_utterances = max(num_utterances, -(-num_tokens // max_positions))
    num_samples = min(MAX_SAMPLES, int(audio_s * SAMPLE_RATE_HZ / num_utterances))
    audio = np.zeros(num_samples, dtype=np.float32)

    def example(target: str) -> Example:
        return Example("worst", task, "zh", prompt, target, audio)

    empty, filled = (len(template.encode(example(target)).input_ids) for target in ("", FILLER * 100))
    room = num_tokens // num_utterances - empty
    if room < 0:
        raise ValueError(
            f"{audio_s:.0f} s of audio take more than {num_tokens} positions; "
            "raise plan.max_tokens or lower plan.max_audio_s"
        )
    target = FILLER * int(room / max((filled - empty) / 100, 1e-9))
    return collate([example(target)] * num_utterances, template)


@contextmanager
def counting_activations() -> Iterator[list[int]]:
    """Yield a list whose only element grows by the bytes that autograd keeps for the backward pass, once a storage."""
    seen: set[int] = set()
    count = [0]

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter) and storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            count[0] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield count


def activations(
    losses: Callable[[Batch], Tensor], make: Callable[[float], Batch], shares: tuple[float, float]
) -> tuple[float, float]:
    """Return bytes that are kept for the backward pass of any pack, and those that a whole budget adds.

    `losses` runs the model, `make` packs a share of the budget. By a line through two shares: a packed model keeps as
    much for each position, however many there are.
    """
    found = []
    for share in shares:
        with counting_activations() as count:
            loss = losses(make(share))
        found.append(count[0])
        loss.backward()
    slope = (found[1] - found[0]) / (shares[1] - shares[0])
    return max(0.0, found[0] - slope * shares[0]), slope


def largest_share(fits: Callable[[float], bool], first: float, resolution: float = 0.95) -> float:
    """Return a share of the budget that fits, by trying the first and smaller ones. MemoryError if a tenth does not."""
    share = first
    while not fits(share):
        share *= resolution
        if share < first / 10:
            raise MemoryError("not even a tenth of the budget that was counted fits")
    return share


@contextmanager
def naming(batch: Batch) -> Iterator[None]:
    """Let an accelerator that runs out of memory name the batch and the remedy, as ValueError."""
    try:
        yield
    except torch.OutOfMemoryError as err:
        audio_s = int(batch.audio_lens.sum()) / SAMPLE_RATE_HZ
        raise ValueError(
            f"out of memory in a pack of {len(batch.input_ids)} positions and {audio_s:.0f} s of audio, utterances "
            f"{batch.keys[:8]}: {err}. Lower data.plan.max_tokens, say to {int(LOWERED * len(batch.input_ids))}, and "
            f"max_audio_s to {LOWERED * audio_s:.0f}; python -m osum.bin.plan_memory finds the largest that fit"
        ) from err
