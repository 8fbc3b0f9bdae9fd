"""What follows the start of a Whisper's texts: for the few of a validation, without a cache.

Letters: B rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from osum.model.packing import Packing
from osum.model.whisper import MultitaskWhisper
from osum.types import Batch


class WhisperContinuation:
    """Rows that go on from the prefixes of a batch; `logits` (B, V) are those of the next token.

    All of a row is read again for each token, exactly as in training.
    """

    def __init__(self, model: MultitaskWhisper, prefixes: Batch) -> None:
        self._model = model
        frames, memory = model.encoder(*model.log_mel(prefixes.audio, prefixes.audio_lens))
        self._frames = list(frames.split(memory.lens.tolist()))
        self._ids = list(prefixes.input_ids.split(prefixes.segment_lens.tolist()))
        self.logits = self._read()

    @property
    def likeliest(self) -> Tensor:
        """(B,) next token with the largest logit."""
        return self.logits.argmax(-1)

    def feed(self, token_ids: Tensor, rows: Tensor | None = None) -> None:
        """Append one token (B',) to every row, or to these rows only; others leave."""
        kept = range(len(self._ids)) if rows is None else rows.tolist()
        self._frames = [self._frames[row] for row in kept]
        self._ids = [torch.cat([self._ids[row], token]) for row, token in zip(kept, token_ids.split(1), strict=True)]
        self.logits = self._read()

    def _read(self) -> Tensor:
        segments, memory = _packing(self._ids), _packing(self._frames)
        hidden = self._model.decode(torch.cat(self._ids), segments, torch.cat(self._frames), memory)
        return self._model.head(hidden[segments.lens.cumsum(0) - 1])


def _packing(rows: list[Tensor]) -> Packing:
    return Packing(torch.tensor([len(row) for row in rows], device=rows[0].device))
