"""Optimizers and learning-rate schedule, with learning rates of their own for parts of the model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from osum.near import near_names
from osum.train.configs import OptimConfig
from osum.train.muon import Muon

STATE = {torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"}, Muon: {"momentum_buffer"}}
"""What each optimizer remembers of a parameter."""


class Optimizer:
    """AdamW, with Muon beside it for hidden weight matrices if asked.

    Small models that start from random weights learn in fewer steps with Muon; fine-tuning keeps to the paper's AdamW.
    """

    def __init__(self, model: nn.Module, cfg: OptimConfig) -> None:
        """ValueError if a trained parameter is not float32 or a pattern of `lr_scales` matches none."""
        self._cfg = cfg
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        """The parameters by name."""
        matrices, others = _parameter_groups(model, cfg)
        self._parts: list[torch.optim.Optimizer] = []
        if others:
            self._parts.append(torch.optim.AdamW(others, lr=cfg.lr, betas=cfg.betas, eps=cfg.eps, fused=True))
        if matrices:
            self._parts.append(Muon(matrices, lr=cfg.muon_lr))
        self._owner = {p: part for part in self._parts for group in part.param_groups for p in group["params"]}

    def step(self, lr_share: float) -> None:
        """Update the parameters at this share of every peak learning rate, then forget the gradients."""
        for part in self._parts:
            peak = self._cfg.muon_lr if isinstance(part, Muon) else self._cfg.lr
            for group in part.param_groups:
                group["lr"] = peak * lr_share * group["lr_scale"]
            part.step()
            part.zero_grad()

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of the state as `<parameter>/<what>`; parameters that had no gradient yet have none."""
        return {
            f"{name}/{what}": value
            for name, parameter in self.trained.items()
            for what, value in self._owner[parameter].state.get(parameter, {}).items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned. ValueError if it is of other optimizers or parameters."""
        for name, value in state.items():
            parameter_name, what = name.rsplit("/", 1)
            if parameter_name not in self.trained:
                raise ValueError(f"it holds the optimizer's state of {parameter_name}, which is not trained")
            parameter = self.trained[parameter_name]
            part = self._owner[parameter]
            if what not in STATE[type(part)]:
                raise ValueError(f"it was made with other optimizers ({what} of {parameter_name}); keep optim.muon_lr")
            part.state[parameter][what] = value


HIDDEN_MATRIX = re.compile(r"(encoder|decoder|adaptor|llm).*(?<!embed_tokens)(?<!embed_positions)(?<!lm_head)\.weight$")
"""Names of the matrices between hidden states; embeddings and output layers are not among them."""


def is_for_muon(name: str, parameter: nn.Parameter, cfg: OptimConfig) -> bool:
    """Return whether Muon trains a parameter, if any does."""
    return cfg.muon_lr is not None and parameter.ndim == 2 and HIDDEN_MATRIX.search(name) is not None


def _parameter_groups(model: nn.Module, cfg: OptimConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split what is trained into groups for Muon and for AdamW, by learning rate and weight decay."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    wrong = [name for name, p in trained if p.dtype != torch.float32]
    if wrong:
        raise ValueError(f"trained parameters must be float32; {wrong[0]} is not. Load the model with dtype float32")
    unused = set(cfg.lr_scales)
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for name, parameter in trained:
        pattern = next((p for p in cfg.lr_scales if re.search(p, name)), None)
        unused.discard(pattern or "")
        decay = cfg.weight_decay if parameter.ndim > 1 else 0.0
        muon = is_for_muon(name, parameter, cfg)
        groups.setdefault((muon, cfg.lr_scales.get(pattern or "", 1.0), decay), []).append(parameter)
    if unused:
        near = near_names(min(unused), (name for name, _ in trained))
        raise ValueError(f"optim.lr_scales: nothing is left for {sorted(unused)} to match; {near}")
    as_groups = [
        (muon, {"params": ps, "weight_decay": decay, "lr_scale": scale}) for (muon, scale, decay), ps in groups.items()
    ]
    return [g for muon, g in as_groups if muon], [g for muon, g in as_groups if not muon]


def lr_share(step: int, max_steps: int, cfg: OptimConfig) -> float:
    """Return the share of the peak learning rate at step number `step`, counted from 0."""
    warm = (step + 1) / cfg.warmup_steps
    if warm < 1:
        return warm
    if cfg.schedule == "inverse_sqrt":
        return warm**-0.5
    progress = (step + 1 - cfg.warmup_steps) / max(1, max_steps - cfg.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return cfg.final_lr_share + (1 - cfg.final_lr_share) * cosine
