"""What a training stage needs of memory, and the largest budget of tokens and audio a pack that fits.

Takes the stage, train_sulm unless said otherwise, and its options; writes nothing. Where there is a GPU, the worst pack
is tried on it.

python -m osum.bin.plan_memory train_whisper --config conf/osum/train_whisper.yaml --memory_gb 80
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osum import config, dist, log
from osum.bin import train_sulm, train_whisper

if TYPE_CHECKING:
    import torch
    from torch import nn

    from osum.train.corpus import Corpus
    from osum.types import Batch

SHARES = (0.125, 0.25)
"""Of the budget of the configuration, on which activations are measured."""

logger = log.get(__name__)


@dataclass(kw_only=True)
class PlanOptions:
    """What the stages' own options lack."""

    out_dir: Path | None = None
    """Ignored: nothing is kept."""
    memory_gb: float | None = None
    """Memory of one device, GB (1e9 bytes); null asks the GPU of this machine."""
    reserve: float = 0.1
    """Share of it to leave free: fragments, buffers of the exchange between devices."""
    num_shards: int = 1
    """Devices that share every parameter under `compute.parallel: fsdp`."""

    def __post_init__(self) -> None:
        """ValueError for a reserve that is no share, or less than one shard."""
        if not 0 <= self.reserve < 1:
            raise ValueError(f"reserve is {self.reserve}; it must be at least 0 and below 1")
        if self.num_shards < 1:
            raise ValueError(f"num_shards is {self.num_shards}; it must be at least 1")


@dataclass
class PlanSulmConfig(PlanOptions, train_sulm.TrainSulmConfig):
    """Plan the memory of stage 4; `plan_memory train_whisper` and options plans that of stage 3."""


@dataclass
class PlanWhisperConfig(PlanOptions, train_whisper.TrainWhisperConfig):
    """Plan the memory of stage 3."""


StageConfig = PlanSulmConfig | PlanWhisperConfig
STAGES: dict[str, tuple[type[StageConfig], Callable[[Any, Path], tuple[Any, Any, Any]]]] = {
    "train_whisper": (PlanWhisperConfig, train_whisper.assemble),
    "train_sulm": (PlanSulmConfig, train_sulm.assemble),
}
"""Stage -> its options, and what gives its data and its model."""
STAGE = "train_sulm"
"""Where none is named."""


def main(argv: list[str] | None = None) -> None:
    """Log what is needed and what fits. ValueError if the parameters alone do not."""
    words = sys.argv[1:] if argv is None else argv
    stage, options = (words[0], words[1:]) if words and not words[0].startswith("-") else (STAGE, words)
    if stage not in STAGES:
        raise ValueError(f"{stage!r} is no training stage; say plan_memory {' or '.join(STAGES)}, then its options")
    config_class, assemble = STAGES[stage]
    cfg = config.load(config_class, options)
    log.setup()
    with dist.world() as world, tempfile.TemporaryDirectory() as folder:
        corpus, model, _ = assemble(cfg, Path(folder) / "cache")
        run(cfg, corpus, model, world.device)


def run(cfg: StageConfig, corpus: Corpus, model: nn.Module, device: torch.device) -> tuple[int, float]:
    """Return the largest `plan.max_tokens` and `plan.max_audio_s` that fit, in the proportion of the configuration."""
    from osum.train import compute, memory

    room = (1 - cfg.reserve) * (cfg.memory_gb * 1e9 if cfg.memory_gb else _memory_of(device))
    compute.prepare(model, cfg.train.precision, cfg.train.compute, device)
    needed = memory.standing(model.to(device).train(), cfg.train.optim, cfg.num_shards)
    for name in ("frozen", "trained", "gradients", "optimizer", "total"):
        logger.info("plan_memory %s_gb=%.2f", name, getattr(needed, name) / 1e9)
    task = cfg.data.tasks[0]
    prompt = max((p for of_language in corpus.prompts[task].values() for p in of_language), key=len)
    longest = getattr(model, "max_positions", None)  # a Whisper has a table of them
    make = partial(memory.worst_batch, corpus.train.template, task, prompt, cfg.data.plan, max_positions=longest)
    losses = partial(_loss, model, device, cfg)
    fixed, per_budget = memory.activations(losses, make, SHARES)
    logger.info("plan_memory activations_gb=%.2f (of the configured budget)", (fixed + per_budget) / 1e9)
    share = (room - needed.total - fixed) / per_budget
    if share < SHARES[0]:
        raise ValueError(
            f"{room / 1e9:.1f} GB are too little for {needed.total / 1e9:.1f} GB and an eighth of the budget; "
            "freeze or shard more, use train.precision bfloat16, or train.compute.recompute"
        )
    if device.type == "cuda":
        share = memory.largest_share(partial(_fits, losses, make, room), share)
    budget = int(cfg.data.plan.max_tokens * share), round(cfg.data.plan.max_audio_s * share, 1)
    logger.info("plan_memory fits: plan.max_tokens=%d plan.max_audio_s=%.1f", *budget)
    return budget


def _loss(model: nn.Module, device: torch.device, cfg: StageConfig, batch: Batch) -> torch.Tensor:
    from osum.model.precision import autocast

    with autocast(device, cfg.train.precision):
        loss = model(batch.to(device))
    return loss.weighted_nll + loss.ctc


def _fits(losses: Callable[[Batch], torch.Tensor], make: Callable[[float], Batch], room: float, share: float) -> bool:
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        losses(make(share)).backward()
    except torch.OutOfMemoryError:
        return False
    return torch.cuda.max_memory_allocated() <= room


def _memory_of(device: torch.device) -> float:
    import torch

    if device.type != "cuda":
        raise ValueError("memory_gb: there is no GPU to ask; say how much memory the one to train on has")
    return float(torch.cuda.get_device_properties(device).total_memory)


if __name__ == "__main__":
    log.run_main(main)
