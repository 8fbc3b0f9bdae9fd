"""Equal beginnings of a pack's segments are computed once.

What a causal model computes of a prompt depends on the prompt alone, so that utterances with the same one can share it
in all that works on single positions; attention sees the whole sequences as ever. Where speech comes first, all that
is asked about one utterance shares its speech.

Letters: B segments, L packed positions, K <= L that are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from osum.model.packing import Packing


@dataclass(frozen=True)
class Sharing:
    """Which positions of a pack are computed, and which of them serves each position."""

    kept: Tensor
    """(K,) packed positions in ascending order."""
    source: Tensor
    """(L,) number of the kept position that is equal to each."""


def share_beginnings(
    input_ids: Tensor, speech_mask: Tensor, segments: Packing, heard: Sequence[int] | None = None
) -> Sharing | None:
    """Share what is equal from the start of the segments on; None if nothing is.

    (L,) token ids and (L,) bool: positions of speech. `heard` numbers what each of the B segments hears; without it no
    speech is equal to another.
    """
    ids, is_speech = input_ids.tolist(), speech_mask.tolist()
    first_of = list(range(len(ids)))
    seen: dict[tuple[int, int], int] = {}
    ends = segments.lens.cumsum(0).tolist()
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        before = -1
        for position in range(start, end):
            if is_speech[position] and heard is None:
                break
            here = -1 - heard[number] if is_speech[position] else ids[position]
            # Equal so far (the same position stands for what is before) and equal here.
            before = first_of[position] = seen.setdefault((before, here), position)
    firsts = torch.tensor(first_of, device=input_ids.device)
    kept, source = firsts.unique(return_inverse=True)
    return None if len(kept) == len(ids) else Sharing(kept, source)
