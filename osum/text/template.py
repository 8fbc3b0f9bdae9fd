"""How one utterance becomes a sequence of tokens, for each of the two models. Training and decoding share this.

L = positions of the sequence, S = speech embeddings, T = tokens of the target. The end token is predicted at the last
position and is itself never an input, so a sequence has as many positions as predictions are possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as ListOf
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from osum.audio.frames import num_speech_embeddings
from osum.text import tags
from osum.text.configs import PAPER, TemplateConfig
from osum.types import Example

IGNORED = -100
"""Label of positions without a token to predict (the default `ignore_index` of torch's cross-entropy)."""

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
"""Begin and end of a turn in ChatML."""

MAX_KEPT_PROMPTS = 4096
"""Prompts whose tokens are kept."""

Lens = TypeVar("Lens", int, np.ndarray)


class Tokenizer(Protocol):
    """What the templates need of a Hugging Face tokenizer."""

    eos_token_id: int | None

    def encode(self, text: str, add_special_tokens: bool = ...) -> list[int]:
        """Return the token ids of a text."""

    def decode(self, token_ids: list[int], skip_special_tokens: bool = ...) -> str:
        """Return the text of tokens."""


@dataclass(frozen=True)
class Sequence:
    """The decoder positions of one utterance."""

    input_ids: np.ndarray
    """(L,) int64; the value at a speech position is ignored."""
    labels: np.ndarray
    """(L,) int64: the token to predict at this position (already shifted), IGNORED where none is."""
    speech_mask: np.ndarray
    """(L,) bool: positions filled with speech embeddings."""
    weights: np.ndarray
    """(L,) float32 weight of each label in the loss; 1 except on what follows the transcript."""


class Template(Protocol):
    """What both templates do."""

    eos_id: int

    def target_ids(self, target: str) -> list[int]:
        """Tokens of a target, without the end token."""

    def text(self, token_ids: list[int]) -> str:
        """Text of tokens that were written after a prefix."""

    def prefix_len(self, task: str, prompt: str) -> int:
        """Positions before the target, speech embeddings not counted."""

    def num_speech(self, num_samples: Lens) -> Lens:
        """Speech embeddings among the positions, for an utterance of so many samples."""

    def prefix(self, example: Example) -> Sequence:
        """Everything before the target: what decoding starts from."""

    def encode(self, example: Example) -> Sequence:
        """Prefix and target; the loss is on target and end token."""


class SulmTemplate:
    """`[prompt][speech-begin][speech x S][speech-end][target]`, predicting target and end of text.

    Speech-begin and speech-end are embeddings of the model, not tokens, so they count as speech positions: S + 2.
    A config can put speech before the prompt, and the text of a ChatML dialogue around both; `<|im_end|>` then ends
    the target.
    """

    def __init__(self, tokenizer: Tokenizer, tag_weight: float = 1.0, cfg: TemplateConfig = PAPER) -> None:
        """`tag_weight` is the weight in the loss of what follows the transcript.

        ValueError if the tokenizer lacks an end token or those of ChatML.
        """
        self._tag_weight = tag_weight
        self._tokenizer = tokenizer
        self._prompt_ids: dict[str, list[int]] = {}
        self._speech_first = cfg.speech_first
        self._opening, self._closing = _chatml_frame(cfg.system) if cfg.form == "chatml" else ("", "")
        self.eos_id = _chatml_end(tokenizer) if cfg.form == "chatml" else _eos(tokenizer)

    def target_ids(self, target: str) -> list[int]:
        """Tokens of a target, without the end token."""
        return self._tokenizer.encode(target, add_special_tokens=False)

    def text(self, token_ids: list[int]) -> str:
        """Text of tokens that were written after a prefix."""
        return self._tokenizer.decode(token_ids, skip_special_tokens=True)

    def prefix_len(self, task: str, prompt: str) -> int:
        """Positions of prompt, speech-begin and speech-end; the task name is not part of the sequence."""
        before, after = self._around_speech(prompt)
        return len(before) + 2 + len(after)

    def num_speech(self, num_samples: Lens) -> Lens:
        """Speech embeddings of an utterance of so many samples."""
        return num_speech_embeddings(num_samples)

    def prefix(self, example: Example) -> Sequence:
        """`[prompt][speech-begin][speech x S][speech-end]`, nothing to predict."""
        before, after = self._around_speech(example.prompt)
        num_speech = self.num_speech(example.audio.shape[0]) + 2
        return _without_loss(before + [self.eos_id] * num_speech + after, len(before), num_speech)

    def encode(self, example: Example) -> Sequence:
        """(P + S + 2 + T,) positions; the loss is on the T target tokens and the end token."""
        return _with_target(self, example, self._tag_weight)

    def _around_speech(self, prompt: str) -> tuple[list[int], list[int]]:
        """Return the tokens before speech-begin and after speech-end."""
        texts = [self._opening + prompt, self._closing]
        if self._speech_first:
            texts = [self._opening, prompt + self._closing]
        return self._ids_around(texts[0]), self._ids_around(texts[1])

    def _ids_around(self, text: str) -> list[int]:
        # Prompts are few, and come again with every utterance.
        if text not in self._prompt_ids:
            if len(self._prompt_ids) >= MAX_KEPT_PROMPTS:
                self._prompt_ids.clear()
            self._prompt_ids[text] = self._tokenizer.encode(text, add_special_tokens=False)
        return self._prompt_ids[text]


class WhisperTemplate:
    """`[start tokens][task tag][target]` for the decoder of an encoder-decoder, predicting target and end of text."""

    def __init__(
        self, tokenizer: Tokenizer, tags: Mapping[str, str], start_ids: ListOf[int] = (), tag_weight: float = 1.0
    ) -> None:
        """`tags` name the tasks (`ser`: `<ser>`); `start_ids` open every sequence, by default the end token does.

        `tag_weight` is the weight in the loss of what follows the transcript.
        """
        self._tag_weight = tag_weight
        self.eos_id = _eos(tokenizer)
        self._tokenizer = tokenizer
        self._tags = dict(tags)
        self._start_ids = list(start_ids) or [self.eos_id]

    def target_ids(self, target: str) -> list[int]:
        """Tokens of a target, without the end token."""
        return self._tokenizer.encode(target, add_special_tokens=False)

    def text(self, token_ids: list[int]) -> str:
        """Text of tokens that were written after a prefix."""
        return self._tokenizer.decode(token_ids, skip_special_tokens=True)

    def prefix_len(self, task: str, prompt: str) -> int:
        """Positions of start tokens and task tag; prompts are not part of the sequence."""
        return len(self._start(task))

    def num_speech(self, num_samples: Lens) -> Lens:
        """Zero: speech reaches this decoder through cross-attention."""
        return num_samples * 0

    def prefix(self, example: Example) -> Sequence:
        """`[start tokens][task tag]`, nothing to predict."""
        ids = self._start(example.task)
        return _without_loss(ids)

    def encode(self, example: Example) -> Sequence:
        """(P + T,) positions; the loss is on the T target tokens and the end token."""
        return _with_target(self, example, self._tag_weight)

    def _start(self, task: str) -> list[int]:
        return self._start_ids + self._tokenizer.encode(self._tags[task], add_special_tokens=False)


def _eos(tokenizer: Tokenizer) -> int:
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end token; set eos_token (<|endoftext|>) in its folder")
    return int(tokenizer.eos_token_id)


def _chatml_frame(system: str | None) -> tuple[str, str]:
    """Return what stands before and after that which the user says."""
    turn = "" if system is None else f"{IM_START}system\n{system}{IM_END}\n"
    return f"{turn}{IM_START}user\n", f"{IM_END}\n{IM_START}assistant\n"


def _chatml_end(tokenizer: Tokenizer) -> int:
    found = {token: tokenizer.encode(token, add_special_tokens=False) for token in (IM_START, IM_END)}
    if missing := [token for token, ids in found.items() if len(ids) != 1]:
        raise ValueError(f"template.form chatml: the tokenizer lacks {' and '.join(missing)}; use form plain")
    return found[IM_END][0]


def _without_loss(ids: list[int], speech_start: int = 0, num_speech: int = 0) -> Sequence:
    input_ids, place = np.asarray(ids, dtype=np.int64), np.arange(len(ids))
    return Sequence(
        input_ids=input_ids,
        labels=np.full(len(ids), IGNORED, dtype=np.int64),
        speech_mask=(place >= speech_start) & (place < speech_start + num_speech),
        weights=np.ones(len(ids), dtype=np.float32),
    )


def _with_target(template: Template, example: Example, tag_weight: float) -> Sequence:
    prefix, target_ids = template.prefix(example), template.target_ids(example.target)
    predicted = np.asarray([*target_ids, template.eos_id], dtype=np.int64)
    fed = predicted[:-1]
    weights = np.ones(len(predicted), dtype=np.float32)
    if tag_weight != 1.0:
        weights[_transcript_len(template, example) : len(target_ids)] = tag_weight
    return Sequence(
        input_ids=np.concatenate([prefix.input_ids, fed]),
        labels=np.concatenate([prefix.labels[:-1], predicted]),
        speech_mask=np.concatenate([prefix.speech_mask, np.zeros(len(fed), dtype=bool)]),
        weights=np.concatenate([prefix.weights[:-1], weights]),
    )


def _transcript_len(template: Template, example: Example) -> int:
    """Tokens of the target up to the end of the transcript; all of them where it is woven in, as in word times."""
    transcript, target = example.transcript or "", example.target
    if target.startswith(transcript):
        return len(template.target_ids(transcript)) if transcript else 0
    return 0 if _only_tags(target) else len(template.target_ids(target))


def _only_tags(target: str) -> bool:
    return target.startswith("<") and not tags.remove(target)
