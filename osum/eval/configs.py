"""How hypotheses are written. Nothing here needs torch, so that a stage can read its options without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from osum.model.configs import check_precision_name


@dataclass(kw_only=True)
class DecodingConfig:
    """Search, lengths and batches; none of the batch sizes changes a result."""

    num_beams: int = 1
    """Beams; 1 is greedy."""
    max_new_tokens: int = 200
    """Longest hypothesis, tokens."""
    task_max_new_tokens: dict[str, int] = field(default_factory=dict)
    """Longest hypothesis of single tasks, tokens, as in {srwt: 400}; others keep max_new_tokens."""
    max_repeats: int = 0
    """Stop a hypothesis that ends in so many copies of one sequence of up to 32 tokens; 0 lets it go on."""
    stop_tokens: list[str] = field(default_factory=list)
    """Tokens that end a hypothesis besides the tokenizer's end token, as in ["<|im_end|>"]."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of matrix products; bfloat16 also halves the memory for weights, and float16 is refused."""
    batch_size: int = 64
    """Hypotheses written together; > 0."""
    max_batch_audio_s: float = 1800.0
    """Seconds of audio held at once, each utterance counted as long as the longest; > 0."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        for name in ("num_beams", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        check_precision_name(self.precision, "precision")
        if short := [task for task, limit in self.task_max_new_tokens.items() if limit < 1]:
            raise ValueError(f"task_max_new_tokens of {short} must be at least 1")
        if self.max_repeats < 0 or self.max_repeats == 1:
            raise ValueError(f"max_repeats is {self.max_repeats}; it must be 0 (off) or at least 2")
        if self.max_batch_audio_s <= 0:
            raise ValueError(f"max_batch_audio_s is {self.max_batch_audio_s}; it must be positive")

    def limit(self, task: str) -> int:
        """Return the longest hypothesis of a task, tokens."""
        return self.task_max_new_tokens.get(task, self.max_new_tokens)
