"""How a training step is computed: precision, shared prompts, recomputed or compiled layers. Not what is trained."""

from __future__ import annotations

import inspect
from functools import partial
from types import MethodType

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from osum.model.onednn import use_fastest_products
from osum.model.precision import Precision, halve
from osum.train.configs import ComputeConfig


def prepare(model: nn.Module, precision: Precision, cfg: ComputeConfig, device: torch.device) -> None:
    """Bring a model into the form that the options ask for. ValueError for a part that it lacks or a device that can't.

    A model has `blocks()`: the layers of its parts by name.
    """
    if precision == "bfloat16":
        if device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise ValueError(f"{torch.cuda.get_device_name(device)} has no bfloat16; set train.precision to float32")
        halve(p for p in model.parameters() if not p.requires_grad)
    check_precision(model)
    if cfg.share_prompts:
        if not hasattr(model, "share_prompts"):
            raise ValueError("train.compute.share_prompts: this model reads no prompts; leave it out")
        model.share_prompts = True
    use_fastest_products(model)
    # Compiled first: what is computed again in the backward pass is then the compiled layer.
    for block in _chosen(model, cfg.compile, "compile"):
        compile_block(block)
    for block in _chosen(model, cfg.recompute, "recompute"):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def check_precision(model: nn.Module) -> None:
    """ValueError if a trained parameter is not float32, or a frozen one neither that nor bfloat16."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            raise ValueError(f"the trained parameter {name} is {parameter.dtype}; load the model in float32")
        if parameter.dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"the frozen parameter {name} is {parameter.dtype}; load the model in float32 or bfloat16")


def _chosen(model: nn.Module, parts: list[str], option: str) -> list[nn.Module]:
    blocks = model.blocks()
    unknown = sorted(set(parts) - blocks.keys())
    if unknown:
        raise ValueError(f"train.compute.{option}: the model has no part {unknown}; it has {sorted(blocks)}")
    return [block for part in parts for block in blocks[part]]


def compile_block(block: nn.Module, backend: str = "inductor", fullgraph: bool = False) -> None:
    """Compile a layer for any length.

    The layer's own code, without what transformers wraps around it: the compiler counts its recompilations by code,
    and that wrapper is the same for all kinds of layers.
    """
    forward = torch.compile(inspect.unwrap(type(block).forward), dynamic=True, backend=backend, fullgraph=fullgraph)
    block.forward = MethodType(forward, block)
