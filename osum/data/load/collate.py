"""From Examples to a packed Batch. Nothing is padded: samples, tokens and CTC units are concatenated."""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from osum.audio.io import to_float
from osum.text.template import Sequence, Template
from osum.types import Batch, Example

PLACEHOLDER_SAMPLES = 1600


class Units(Protocol):
    """CTC units; id 0 is the blank."""

    def encode(self, text: str) -> list[int]:
        """Return the unit ids of a transcript."""


def collate(examples: ListOf[Example], template: Template, units: Units | None = None) -> Batch:
    """B examples -> their training batch; with `units` also CTC labels (none for an unknown transcript)."""
    batch = _pack(examples, [template.encode(e) for e in examples])
    if units is not None:
        encoded = [units.encode(e.transcript) if e.transcript else [] for e in examples]
        batch.ctc_labels = _ints([u for ids in encoded for u in ids])
        batch.ctc_lens = _ints([len(ids) for ids in encoded])
    return batch


def collate_prefixes(examples: ListOf[Example], template: Template) -> Batch:
    """B examples -> what decoding starts from: everything before the targets, no labels."""
    return _pack(examples, [template.prefix(e) for e in examples])


def placeholder(template: Template, task: str, units: Units | None = None) -> Batch:
    """0.1 s of silence, key "", without a token to predict: keeps a rank in step when its pack has no utterance."""
    silence = Example("", task, "und", "", "", np.zeros(PLACEHOLDER_SAMPLES, dtype=np.float32))
    batch = collate_prefixes([silence], template)
    if units is not None:
        batch.ctc_labels, batch.ctc_lens = _ints([]), _ints([0])
    return batch


def _pack(examples: ListOf[Example], sequences: ListOf[Sequence]) -> Batch:
    assert examples, "a batch needs at least one example; use placeholder()"
    return Batch(
        keys=[e.key for e in examples],
        tasks=[e.task for e in examples],
        audio=torch.from_numpy(_joined([e.audio for e in examples])),
        audio_lens=_ints([len(e.audio) for e in examples]),
        input_ids=torch.from_numpy(np.concatenate([s.input_ids for s in sequences])),
        labels=torch.from_numpy(np.concatenate([s.labels for s in sequences])),
        speech_mask=torch.from_numpy(np.concatenate([s.speech_mask for s in sequences])),
        segment_lens=_ints([len(s.input_ids) for s in sequences]),
        weights=torch.from_numpy(np.concatenate([s.weights for s in sequences])),
        corpora=[e.corpus for e in examples],
        copies=[e.copy for e in examples],
    )


def _joined(audio: ListOf[np.ndarray]) -> np.ndarray:
    """Concatenate samples: int16 if all are, else float32."""
    stored_alike = all(a.dtype == np.int16 for a in audio)
    return np.concatenate(audio if stored_alike else [to_float(a) for a in audio])


def _ints(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)
