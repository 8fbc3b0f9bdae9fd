"""Options of the token sequence. Nothing here needs torch, so that a stage can read its options without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TemplateConfig:
    """How prompt, speech and target follow each other; the defaults are the paper's."""

    form: Literal["plain", "chatml"] = "plain"
    """`plain` has nothing between the parts; `chatml` is a turn of user and one of assistant, for instruct models."""
    speech_first: bool = False
    """Speech before the prompt: what is computed of it up to there is the same in all tasks."""
    system: str | None = "You are a helpful assistant."
    """Text of the system turn of `chatml` (the default is Qwen2's); null for no such turn."""


PAPER = TemplateConfig()
"""`[prompt][speech][target]` (arXiv 2501.13306, section 3)."""
