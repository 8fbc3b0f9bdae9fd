"""The most likely next token, block by block of the vocabulary: logits of all of it never exist on a CPU.

With 151,936 words the logits of 64 rows are 39 MB: to write and read them again takes longer than what they come from,
while those of a block stay in a processor's cache.

Letters: B rows, H width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from osum.model.onednn import PLAIN, fits, multiply

BLOCK = 2048
"""Tokens at a time: with 512 values each, their weights and their logits for 64 rows are 5 MB."""


def likeliest(hidden: Tensor, head: nn.Module) -> Tensor:
    """(B, H) hidden states -> (B,) tokens with the largest logit under an output layer H -> V, without gradient.

    On devices other than the CPU, and for what is no plain `nn.Linear` (LoRA, added tokens), all logits are made.
    """
    if not fits(hidden) or type(head) not in PLAIN:
        return head(hidden).argmax(-1)
    times = linear if type(head) is nn.Linear else multiply
    best = hidden.new_full((len(hidden),), -torch.inf)
    found = torch.zeros(len(hidden), dtype=torch.long)
    for start in range(0, head.out_features, BLOCK):
        # Weights on the left: they are many, the rows few.
        logits = times(head.weight[start : start + BLOCK], hidden)
        if head.bias is not None:
            logits = logits + head.bias[start : start + BLOCK, None]
        values, tokens = logits.max(0)
        better = values > best
        best, found = torch.where(better, values, best), torch.where(better, tokens + start, found)
    return found
