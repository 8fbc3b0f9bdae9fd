"""The paper's adaptor: three causal convolutions and transformer layers between the encoder and the LLM.

Letters: E = total encoder frames at 50 Hz, S = total speech embeddings at 12.5 Hz, D width, H the LLM's width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from osum.audio.frames import MAX_ENCODER_FRAMES, num_adaptor_frames
from osum.model.attention import attend
from osum.model.configs import AdaptorConfig
from osum.model.packing import Packing
from osum.model.timeline import Timeline


class CausalConv(nn.Module):
    """Convolution over time, kernel 3, that sees the past only: what is padded after the end can't leak in."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(width, width, kernel_size=3, stride=stride)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, D, T) -> (B, D, ceil(T / stride))."""
        return gelu(self.conv(pad(hidden, (2, 0))))


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer with full attention inside each segment of a packed sequence."""

    def __init__(self, width: int, cfg: AdaptorConfig) -> None:
        super().__init__()
        self.num_heads = cfg.num_heads
        self.dropout = cfg.dropout
        self.attn_norm = nn.LayerNorm(width)
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, cfg.ffn_dim)
        self.fc2 = nn.Linear(cfg.ffn_dim, width)

    def forward(self, hidden: Tensor, packing: Packing) -> Tensor:
        """(S, D) -> (S, D)."""
        normed = self.attn_norm(hidden)
        query, key, value = (
            proj(normed).view(len(normed), self.num_heads, -1) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = attend(query, key, value, packing, packing, is_causal=False)
        hidden = hidden + self._drop(self.out_proj(attended.flatten(1)))
        return hidden + self._drop(self.fc2(self._drop(self.fc1(self.ffn_norm(hidden)).relu())))

    def _drop(self, hidden: Tensor) -> Tensor:
        return nn.functional.dropout(hidden, self.dropout, self.training)


class Adaptor(nn.Module):
    """Encoder frames at 50 Hz -> speech embeddings at 12.5 Hz in the LLM's width."""

    def __init__(self, width: int, llm_width: int, cfg: AdaptorConfig) -> None:
        """ValueError if the heads do not divide the width."""
        super().__init__()
        if width % cfg.num_heads:
            raise ValueError(f"adaptor.num_heads is {cfg.num_heads}; it must divide the encoder's width, {width}")
        self.scale = math.sqrt(width)
        self.dropout = cfg.dropout
        self.convs = nn.Sequential(CausalConv(width, 1), CausalConv(width, 2), CausalConv(width, 2))
        self.embed = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.register_buffer("positions", sinusoids(num_adaptor_frames(MAX_ENCODER_FRAMES), width), persistent=False)
        self.layers = nn.ModuleList(TransformerLayer(width, cfg) for _ in range(cfg.num_layers))
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, llm_width)

    def forward(self, frames: Tensor, packing: Packing) -> tuple[Tensor, Packing]:
        """Packed (E, D) -> packed (S, H) and its packing."""
        hidden, packing = self._downsample(frames, packing), Packing(num_adaptor_frames(packing.lens))
        hidden = self.embed(hidden) * self.scale + self.positions[packing.positions]
        hidden = nn.functional.dropout(hidden, self.dropout, self.training)
        for layer in self.layers:
            hidden = layer(hidden, packing)
        return self.proj(self.norm(hidden)), packing

    def _downsample(self, frames: Tensor, packing: Packing) -> Tensor:
        """Packed (E, D) at 50 Hz -> packed (S, D) at 12.5 Hz."""
        # The kernels reach two frames back, also at half the rate: hence the gap of four.
        axis = Timeline.of(packing.lens, gap=4, multiple=4)
        hidden = axis.spread(frames)
        for conv in self.convs:
            hidden, axis = conv(axis.clear(hidden)), axis.strided(conv.stride)
        return axis.gather(hidden)


def sinusoids(length: int, width: int) -> Tensor:
    """(length, width) position table of arXiv 1706.03762: sine on even, cosine on odd columns."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
