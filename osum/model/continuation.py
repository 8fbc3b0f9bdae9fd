"""What follows packed prefixes: the LLM's state while it writes, one token for every row at a time.

Letters: B rows, L packed positions of all prefixes, H the LLM's width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from osum.model.kv_cache import KvCache
from osum.model.likeliest import likeliest
from osum.model.packing import Packing
from osum.model.sharing import Sharing
from osum.model.speech_llm import SpeechLLM


class Continuation:
    """Rows that go on from the segments of packed (L, H) embeddings.

    The prefixes are read packed, exactly as in training.
    """

    def __init__(
        self,
        model: SpeechLLM,
        embedded: Tensor,
        segments: Packing,
        sharing: Sharing | None = None,
        choose: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """`choose` is the way from hidden states (B, H) to the most likely tokens, if there is a faster one at hand."""
        self._llm = model.llm
        self._choose = choose or partial(likeliest, head=model.llm.lm_head)
        self._cache = KvCache(segments, sharing)
        self._next_positions = segments.lens.clone()
        self._hidden = model.read(embedded, segments, self._cache, sharing)[segments.lens.cumsum(0) - 1]

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self._hidden.device

    @property
    def logits(self) -> Tensor:
        """(B, V) of the next token."""
        return self._llm.lm_head(self._hidden)

    @property
    def likeliest(self) -> Tensor:
        """(B,) next token with the largest logit."""
        return self._choose(self._hidden)

    def feed(self, token_ids: Tensor, rows: Tensor | None = None) -> None:
        """Append one token (B',) to every row, or to these rows only; a row may come several times, others leave."""
        if rows is not None:
            self._cache.select(rows)
            self._next_positions = self._next_positions[rows]
        mask = self._cache.add_column()
        self._hidden = self._llm.model(
            inputs_embeds=self._llm.get_input_embeddings()(token_ids)[:, None],
            attention_mask={"full_attention": mask},
            position_ids=self._next_positions[:, None],
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state[:, 0]
        self._next_positions = self._next_positions + 1

    def put(self, row: int, other: Continuation, theirs: int) -> None:
        """Give the place of a row to one of another, whose next token is to be fed."""
        self._cache.put(row, other._cache, theirs)
        self._next_positions[row] = other._next_positions[theirs]
