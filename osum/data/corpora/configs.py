"""Options of stage 1. Nothing here needs Lhotse or transformers, so that the stage can read its options without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class FilterConfig:
    """Which utterances are wanted, and how their text is written."""

    min_duration_s: float = 0.1
    """Shorter utterances are left out, seconds."""
    max_duration_s: float = 30.0
    """Longer utterances are left out, seconds."""
    strip_punctuation: bool = False
    """Take punctuation out of transcripts and answers."""

    def __post_init__(self) -> None:
        """ValueError unless the duration limits leave something."""
        if not 0 <= self.min_duration_s < self.max_duration_s:
            raise ValueError("filters: 0 <= min_duration_s < max_duration_s must hold")


@dataclass
class TokenizerConfig:
    """The text tokenizer: trained here, or that of an existing language model."""

    path: str | None = None
    """Folder or hub name of a tokenizer to take over (Qwen2's, for example); null: train one."""
    vocab_size: int = 2000
    """Entries of the trained tokenizer, special tokens and bytes included, added tokens not."""
    max_time_s: float = 30.0
    """Time marks up to here are one token each in the trained tokenizer and among added tokens, seconds."""
    added_tokens: bool = False
    """Add every tag and time mark as one token, to either tokenizer; stage 4 trains their rows, whatever is frozen."""
    prompts_dir: Path | None = None
    """Prompts to train on; null: osum's own."""
