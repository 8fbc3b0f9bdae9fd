"""The most likely next token, block by block of the vocabulary: logits of all of it never exist on a CPU.

With 151,936 words the logits of 64 rows are 39 MB: to write and read them again takes longer than what they come from,
while those of a block stay in a processor's cache.

Letters: B rows, H width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from osum.model.onednn import PLAIN, fits, multiply

BLOCK = 2048
"""Words at a time: with 512 values each, their weights and their logits for 64 rows are 5 MB."""
GROUP = 32
"""Words of which only the largest logit is kept at first: to find its word at once, in every block, takes six times as
long as to look at the best group again."""
ROWS = 16
"""More rows than these are filled up to a multiple of them, for which product and maximum take a fifth less time."""


def likeliest(hidden: Tensor, head: nn.Module) -> Tensor:
    """(B, H) hidden states -> (B,) tokens with the largest logit under an output layer H -> V, without gradient.

    On devices other than the CPU, and for what is no plain `nn.Linear` (LoRA, added tokens), all logits are made.
    """
    if not fits(hidden) or type(head) not in PLAIN:
        return head(hidden).argmax(-1)
    best = _largest_of_groups(fill_up(hidden), head).argmax(0)[: len(hidden)]
    words = (best[:, None] * GROUP + torch.arange(GROUP)).clamp(max=head.out_features - 1)
    logits = (head.weight[words] @ hidden[:, :, None])[:, :, 0]
    if head.bias is not None:
        logits = logits + head.bias[words]
    return words.gather(1, logits.argmax(1, keepdim=True))[:, 0]


def fill_up(hidden: Tensor) -> Tensor:
    """(B, H) -> (B', H), with zeros."""
    return pad(hidden, (0, 0, 0, -len(hidden) % ROWS)) if len(hidden) > ROWS else hidden


def _largest_of_groups(hidden: Tensor, head: nn.Linear) -> Tensor:
    """(B, H) -> (V / GROUP, B)."""
    times = linear if type(head) is nn.Linear else multiply
    found = []
    for start in range(0, head.out_features, BLOCK):
        # Weights on the left: they are many, the rows few.
        logits = times(head.weight[start : start + BLOCK], hidden)
        if head.bias is not None:
            logits = logits + head.bias[start : start + BLOCK, None]
        if missing := -len(logits) % GROUP:
            logits = pad(logits, (0, 0, 0, missing), value=-torch.inf)
        found.append(logits.view(-1, GROUP, len(hidden)).amax(1))
    return torch.cat(found)
