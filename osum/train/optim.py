"""Optimizer and learning-rate schedule, with learning rates of their own for parts of the model."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn


@dataclass
class OptimConfig:
    """AdamW with warm-up; the defaults are the original's."""

    lr: float = 5e-5
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of Adam's two moments."""
    weight_decay: float = 0.01
    """Decoupled weight decay of matrices; norms and biases have none."""
    max_grad_norm: float = 5.0
    """Gradients are scaled down to this norm."""
    warmup_steps: int = 8000
    """Steps of linear warm-up."""
    schedule: Literal["inverse_sqrt", "cosine"] = "inverse_sqrt"
    """After warm-up: step^-0.5 (WeNet's warmuplr), or a cosine to `final_lr_share` at the last step."""
    final_lr_share: float = 0.02
    """Where the cosine ends, as a share of the peak."""
    lr_scales: dict[str, float] = field(default_factory=dict)
    """Regular expression over parameter names -> factor on the learning rate; the first match counts."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        if self.lr <= 0 or self.max_grad_norm <= 0 or self.warmup_steps < 1:
            raise ValueError("optim: lr, max_grad_norm and warmup_steps must be positive")


def build_optimizer(model: nn.Module, cfg: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW over what is trained. ValueError if a pattern of `lr_scales` matches no trained parameter."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    wrong = [name for name, p in trained if p.dtype != torch.float32]
    if wrong:
        raise ValueError(f"trained parameters must be float32; {wrong[0]} is not. Load the model with dtype float32")
    unused = set(cfg.lr_scales)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained:
        pattern = next((p for p in cfg.lr_scales if re.search(p, name)), None)
        unused.discard(pattern or "")
        decay = cfg.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((cfg.lr_scales.get(pattern or "", 1.0), decay), []).append(parameter)
    if unused:
        near = difflib.get_close_matches(next(iter(unused)), [name for name, _ in trained], n=5, cutoff=0.3)
        raise ValueError(f"optim.lr_scales: nothing trained matches {sorted(unused)}; near names: {', '.join(near)}")
    return torch.optim.AdamW(
        [{"params": ps, "weight_decay": decay, "lr_scale": scale} for (scale, decay), ps in groups.items()],
        lr=cfg.lr,
        betas=cfg.betas,
        fused=True,
    )


def learning_rate(step: int, max_steps: int, cfg: OptimConfig) -> float:
    """Return the learning rate of step number `step`, counted from 0."""
    warm = (step + 1) / cfg.warmup_steps
    if warm < 1:
        return cfg.lr * warm
    if cfg.schedule == "inverse_sqrt":
        return cfg.lr * warm**-0.5
    progress = (step + 1 - cfg.warmup_steps) / max(1, max_steps - cfg.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return cfg.lr * (cfg.final_lr_share + (1 - cfg.final_lr_share) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of every group to `lr` times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
