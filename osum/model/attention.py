"""Attention inside the segments of a packed sequence, for transformers' models and our own layers.

Importing registers the name `segments` with transformers. A model built with `attn_implementation="segments"` and
called with the keyword `segments=Segments(...)` attends inside segments only; without the keyword (generation with a
cache) it behaves as `sdpa`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from osum.model.packing import Packing
from osum.model.sharing import Sharing

IMPLEMENTATION = "segments"


@dataclass(frozen=True)
class Segments:
    """The packings that one forward pass needs."""

    own: Packing
    memory: Packing | None = None
    """Packing of the encoder output that a decoder's cross-attention reads."""
    sharing: Sharing | None = None
    """Positions that stand for several; None if each is computed."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Packing,
    keys: Packing,
    is_causal: bool,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Packed (Lq, H, D) x (Lk, Hkv, D) -> (Lq, H, D); segment i of the queries sees segment i of the keys."""
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and not dropout:
        return _varlen(query, key, value, queries, keys, is_causal, scale)
    by_form = _padded if query.is_cuda or torch.compiler.is_compiling() else _each_segment
    gqa = query.shape[1] != key.shape[1]
    sdpa = partial(scaled_dot_product_attention, dropout_p=dropout, is_causal=is_causal, scale=scale, enable_gqa=gqa)
    return by_form(sdpa, query, key, value, queries, keys)


def _each_segment(
    sdpa: partial[Tensor], query: Tensor, key: Tensor, value: Tensor, queries: Packing, keys: Packing
) -> Tensor:
    """One call for each segment: on a CPU, padding to the longest costs more than the calls.

    A compiled graph can't hold as many calls as there are segments; it pads.
    """
    of_keys = keys.lens.tolist()
    parts = zip(query.split(queries.lens.tolist()), key.split(of_keys), value.split(of_keys), strict=True)
    return torch.cat([sdpa(*(x.transpose(0, 1)[None] for x in part))[0].transpose(0, 1) for part in parts])


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, queries: Packing, keys: Packing, is_causal: bool, scale: float | None
) -> Tensor:
    """The kernel for packed sequences; half precision, no dropout."""
    groups = query.shape[1] // key.shape[1]
    return varlen_attn(
        query,
        key.repeat_interleave(groups, 1),
        value.repeat_interleave(groups, 1),
        queries.bounds,
        keys.bounds,
        queries.max_len,
        keys.max_len,
        scale=scale,
        window_size=(-1, 0) if is_causal else (-1, -1),
    )


def _padded(
    sdpa: partial[Tensor], query: Tensor, key: Tensor, value: Tensor, queries: Packing, keys: Packing
) -> Tensor:
    """One call for all. Padded keys are masked; causal attention needs no mask, as padding lies after real queries."""
    mask = None if sdpa.keywords["is_causal"] or keys.is_full else keys.mask[:, None, None, :]
    padded = (queries.pad(query), keys.pad(key), keys.pad(value))
    return queries.pack(sdpa(*(x.transpose(1, 2) for x in padded), attn_mask=mask).transpose(1, 2))


def _segments_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The signature of transformers: (1, H, L, D) each -> (1, L, H, D)."""
    if segments is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    sharing = segments.sharing
    if sharing is not None:
        query, key, value = (x.index_select(2, sharing.source) for x in (query, key, value))
    is_cross = getattr(module, "is_decoder", False) and not module.is_causal
    out = attend(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        queries=segments.own,
        keys=segments.memory if is_cross else segments.own,
        is_causal=module.is_causal,
        scale=kwargs.get("scaling"),
        dropout=kwargs.get("dropout", 0.0),
    )
    return (out if sharing is None else out.index_select(0, sharing.kept))[None], None


AttentionInterface.register(IMPLEMENTATION, _segments_forward)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
