"""The most likely next token by way of bfloat16: rounded products find the few words that it can be, exact ones choose.

Processors that multiply bfloat16 take half the time for them and read half as much. For hidden states h and the weights
w of a word, rounded to h' and w', the inequality of Cauchy and Schwarz bounds what rounding can do to a logit,

    |h.w - h'.w'| <= |h| |w - w'| + |h - h'| |w'|,

so that what no bound lets come near the largest is never looked at again. The result is that of float32.

Letters: B rows, H width, V vocabulary, S groups of words, P groups in doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from osum.model.likeliest import fill_up, likeliest
from osum.model.onednn import PLAIN

GROUP = 16
"""Words that are looked at again together."""
BLOCK = 4096
"""Words at a time, whose logits stay in a processor's cache."""
MAX_DOUBTS = 32
"""Groups for each row beyond which looking at them costs as much as looking at all words."""
SMALL = 2**23
"""Weights of a head that is not worth rounding: reading all of them takes a millisecond or two."""
PAYS_AFTER = 16
"""Choices without rounded weights before these are made: to make them takes as long as some 10 to 25 choices save."""
OUTPUT_ERROR = 1 / 240
"""Of a logit that is rounded to bfloat16, relative to what it is then: 1/256, and some room."""
SUM_ERROR = 2.0**-22
"""Of each of H sums in float32, twice what it is for one, as the exact logits have theirs too."""


class Screen:
    """(B, H) hidden states -> (B,) tokens with the largest logit under a float32 output layer H -> V without bias.

    It holds a rounded copy of the weights as they are now.
    """

    def __init__(self, head: nn.Linear) -> None:
        assert head.bias is None and head.weight.dtype == torch.float32, head
        self._head = head
        weight = head.weight.detach()
        padded = torch.cat([weight, weight[-1:].expand(-len(weight) % GROUP, -1)]) if len(weight) % GROUP else weight
        self._rounded = padded.bfloat16()
        sizes, errors = [], []
        for exact, rounded in zip(padded.split(BLOCK), self._rounded.split(BLOCK), strict=True):
            sizes.append(rounded.float().norm(dim=1))
            errors.append((rounded.float() - exact).norm(dim=1))
        self._size, self._error = (torch.cat(norms).view(-1, GROUP, 1).amax(1) for norms in (sizes, errors))
        """(S, 1) largest |w'| and |w - w'| of each group."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return the tokens."""
        groups, rows = self._doubtful(hidden).nonzero(as_tuple=True)
        if len(groups) > MAX_DOUBTS * len(hidden):
            return likeliest(hidden, self._head)
        weight = self._head.weight
        words = (groups[:, None] * GROUP + torch.arange(GROUP)).clamp(max=len(weight) - 1)
        logits, places = (weight[words] @ hidden[rows, :, None])[:, :, 0].max(1)
        largest = hidden.new_full((len(hidden),), -torch.inf).scatter_reduce(0, rows, logits, "amax")
        none = len(weight)
        tokens = torch.where(logits == largest[rows], words.gather(1, places[:, None])[:, 0], none)
        found = torch.full((len(hidden),), none).scatter_reduce(0, rows, tokens, "amin")
        # Of values that are not finite nothing is the largest.
        return found if int(found.max()) < none else likeliest(hidden, self._head)

    def _doubtful(self, hidden: Tensor) -> Tensor:
        """(S, B) bool: whether a group can hold the largest logit of a row."""
        rows, hidden = len(hidden), fill_up(hidden)
        rounded = hidden.bfloat16()
        logits = [linear(block, rounded).view(-1, GROUP, len(hidden)).amax(1) for block in self._rounded.split(BLOCK)]
        largest, back = torch.cat(logits).float(), rounded.float()
        of_row = (hidden - back).norm(dim=1) + SUM_ERROR * hidden.shape[1] * back.norm(dim=1)
        bound = self._error * hidden.norm(dim=1) + self._size * of_row + OUTPUT_ERROR * largest.abs()
        return (largest + bound >= (largest - bound).amax(0))[:, :rows]


class _ScreenOnceItPays:
    """All words for a short text, a `Screen` from then on."""

    def __init__(self, head: nn.Linear) -> None:
        self._head, self._num_choices = head, 0
        self._screen: Screen | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        self._num_choices += 1
        if self._num_choices > PAYS_AFTER and self._screen is None:
            self._screen = Screen(self._head)
        return likeliest(hidden, self._head) if self._screen is None else self._screen(hidden)


def chooser(head: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the fastest way from hidden states (B, H) to the most likely tokens (B,), for weights that stay."""
    can_round = type(head) in PLAIN and head.bias is None and head.weight.numel() > SMALL
    if can_round and head.weight.dtype == torch.float32 and head.weight.device.type == "cpu" and multiplies_bfloat16():
        return _ScreenOnceItPays(head)
    return partial(likeliest, head=head)


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16."""
    has = torch.cpu.get_capabilities()
    return torch.backends.mkldnn.is_available() and bool(has.get("avx512_bf16") or has.get("amx_bf16"))
