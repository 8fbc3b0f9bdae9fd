"""The objects that cross package borders. Nothing here imports torch, lhotse or the rest of osum at run time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, device


@dataclass(frozen=True)
class Utterance:
    """What is known of one recording besides its samples: the JSON member of a shard."""

    key: str
    corpus: str
    language: str
    """ISO 639-1 code; `und` where unknown."""
    text: str | None
    """Verified transcript; "" means verified to hold no speech, None means unknown."""
    num_samples: int
    """Length at 16 kHz."""
    speaker: str | None = None
    words: tuple[tuple[str, float, float], ...] = ()
    """(word or Han character, start in s, end in s), in time order; empty where unknown."""
    labels: dict[str, str] = field(default_factory=dict)
    """Canonical labels by field: gender, age, emotion, style, event, answer, kind of question; absent is unknown."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks that this utterance can serve."""

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that `from_json` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, obj: dict[str, Any]) -> Utterance:
        """Build from the plain form; fields that are not ours are ignored.

        ValueError names what is missing, ValueError or TypeError what is of a wrong type.
        """
        missing = {"key", "corpus", "language", "text", "num_samples"} - obj.keys()
        if missing:
            raise ValueError(f"utterance {obj.get('key', '?')!r} lacks {sorted(missing)}; run the shard stage again")
        kept = {k: v for k, v in obj.items() if k in UTTERANCE_FIELDS}
        kept["words"] = tuple((str(w), float(s), float(e)) for w, s, e in kept.get("words", ()))
        kept["tasks"] = tuple(kept.get("tasks", ()))
        made = cls(**kept)
        made._check_types()
        return made

    def _check_types(self) -> None:
        texts = (self.key, self.corpus, self.language, *self.tasks, self.text or "", self.speaker or "")
        if not isinstance(self.labels, dict) or type(self.num_samples) is not int or self.num_samples < 0:
            raise TypeError(f"utterance {self.key!r}: labels or num_samples of a wrong type")
        if not all(isinstance(text, str) for text in (*texts, *self.labels.values())):
            raise TypeError(f"utterance {self.key!r}: a field that should be text is not")


UTTERANCE_FIELDS = frozenset(f.name for f in dataclasses.fields(Utterance))
"""Here and not in `from_json`, which is called for every utterance."""


@dataclass(frozen=True)
class Example:
    """One utterance in one task, ready to be collated."""

    key: str
    task: str
    language: str
    prompt: str
    target: str
    """What the model has to write after the speech, without the end token."""
    audio: np.ndarray
    """(num_samples,) at 16 kHz: float32 in [-1, 1], or int16."""
    transcript: str | None = None
    """Verified transcript whatever the task asks for (for CTC), None where unknown."""
    corpus: str = ""
    copy: int = 0
    """Which repetition of the utterance within the epoch."""


@dataclass
class Batch:
    """Packed examples: every per-sample or per-token tensor is one-dimensional, with lengths beside it.

    B utterances, N = total samples, L = total decoder positions, C = total CTC units.
    """

    keys: list[str]
    tasks: list[str]
    audio: Tensor
    """(N,) at 16 kHz: float32 in [-1, 1], or int16, which takes half the way through queues and to a device."""
    audio_lens: Tensor
    """(B,) int64, samples."""
    input_ids: Tensor
    """(L,) int64 token ids; at positions of speech embeddings the value is ignored."""
    labels: Tensor
    """(L,) int64: the token to predict *at* this position (already shifted), -100 where none is."""
    speech_mask: Tensor
    """(L,) bool: positions that speech embeddings fill, in order (all False for an encoder-decoder)."""
    segment_lens: Tensor
    """(B,) int64, decoder positions of each utterance."""
    weights: Tensor | None = None
    """(L,) float32: weight of each label in the loss; None is 1 everywhere."""
    ctc_labels: Tensor | None = None
    """(C,) int64 CTC units, blank is 0."""
    ctc_lens: Tensor | None = None
    """(B,) int64."""
    corpora: list[str] = field(default_factory=list)
    """Corpus of each utterance, for the ledger."""
    copies: list[int] = field(default_factory=list)
    """Which repetition of each utterance within the epoch this is."""

    def to(self, device: device | str) -> Batch:
        """Return the batch on a device."""
        moved = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Batch(**{k: v.to(device, non_blocking=True) if hasattr(v, "to") else v for k, v in moved.items()})

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by torch's DataLoader)."""
        moved = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Batch(**{k: v.pin_memory() if hasattr(v, "pin_memory") else v for k, v in moved.items()})
