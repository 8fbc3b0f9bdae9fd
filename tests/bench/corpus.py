"""Synthetic utterances with the lengths of real ones: what both sides of the training benchmark read.

Audio is noise and token ids are random: cost and padding depend on lengths only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from osum.audio.frames import SAMPLE_RATE_HZ, num_speech_embeddings
from osum.rng import rng_for
from osum.types import Example

TASK_SHARES = {
    "asr": 0.30,
    "srwt": 0.15,
    "ser": 0.12,
    "sgc": 0.10,
    "sap": 0.09,
    "ved": 0.08,
    "ssr": 0.08,
    "sttc": 0.08,
}
MIN_S, MAX_S, LOG_SPREAD = 1.0, 15.0, 0.6
CENTRE_S = 5.0
"""Of the durations drawn; with long targets redrawn, the median of those kept is 4.5 s."""
TOKENS_PER_S = 3.0
"""Text tokens a second: 4 Han characters of 0.75 Qwen2 tokens."""
TIMED_TOKENS_PER_S = 40.8
"""Word times cost 10.2 tokens a character as plain text."""


class IdTokenizer:
    """A tokenizer whose texts are the ids themselves: "12 7" encodes to [12, 7]."""

    def __init__(self, vocab_size: int) -> None:
        self.eos_token_id = vocab_size - 1

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return the ids that the text names."""
        return [int(word) for word in text.split()]


@dataclass(frozen=True)
class Spec:
    """One utterance without its audio."""

    key: str
    task: str
    num_samples: int
    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    """Without the end token."""

    @property
    def num_positions(self) -> int:
        """Decoder positions of our sequence: prompt, begin, speech, end, target."""
        return len(self.prompt_ids) + num_speech_embeddings(self.num_samples) + 2 + len(self.target_ids)

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return self.num_samples / SAMPLE_RATE_HZ

    def example(self) -> Example:
        """Return the utterance with its audio: noise under a slow envelope."""
        rng = rng_for("audio", self.key)
        envelope = np.repeat(rng.uniform(0.01, 0.2, self.num_samples // 1600 + 1), 1600)[: self.num_samples]
        audio = (envelope * rng.standard_normal(self.num_samples)).astype(np.float32)
        prompt, target = (" ".join(map(str, ids)) for ids in (self.prompt_ids, self.target_ids))
        return Example(self.key, self.task, "und", prompt, target, audio)


def draw_corpus(num_utterances: int, vocab_size: int, max_target_tokens: int, seed: int) -> list[Spec]:
    """Draw utterances of the eight-task mix, each with one of five prompts of its task.

    Those with a longer target are redrawn, as the original drops them.
    """
    rng, id_rng = rng_for("corpus", seed), rng_for("ids", seed)  # apart: lengths do not depend on the vocabulary
    names, shares = list(TASK_SHARES), list(TASK_SHARES.values())
    prompts = {name: [_ids(id_rng, vocab_size, n) for n in rng.integers(8, 17, 5)] for name in names}
    specs = []
    for number in range(num_utterances):
        task = str(rng.choice(names, p=shares))
        duration_s, num_tokens = _draw_lengths(rng, task, max_target_tokens)
        prompt_ids = prompts[task][int(rng.integers(5))]
        target_ids = _ids(id_rng, vocab_size, num_tokens)
        specs.append(Spec(f"u{seed}-{number}", task, int(duration_s * SAMPLE_RATE_HZ), prompt_ids, target_ids))
    return specs


def _ids(rng: np.random.Generator, vocab_size: int, count: int) -> tuple[int, ...]:
    return tuple(rng.integers(0, vocab_size - 1, count).tolist())


def _draw_lengths(rng: np.random.Generator, task: str, max_target_tokens: int) -> tuple[float, int]:
    while True:
        duration_s = float(np.exp(rng.normal(np.log(CENTRE_S), LOG_SPREAD)))
        if not MIN_S <= duration_s <= MAX_S:
            continue
        num_tokens = num_target_tokens(rng, task, duration_s)
        if num_tokens <= max_target_tokens:
            return duration_s, num_tokens


def num_target_tokens(rng: np.random.Generator, task: str, duration_s: float) -> int:
    """Draw the length of a target, tokens without the end token."""
    rate = TIMED_TOKENS_PER_S if task == "srwt" else TOKENS_PER_S
    transcript = max(1, round(duration_s * rate * rng.uniform(0.75, 1.25)))
    if task in ("asr", "srwt"):
        return transcript
    answer = int(rng.integers(10, 41)) if task == "sttc" else 0
    return transcript + int(rng.integers(3, 7)) + answer  # a tag is 3 to 6 tokens as plain text
