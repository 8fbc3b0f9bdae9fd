"""Batches of seeded noise with short texts, and what tests do with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from osum.data.load import collate as collating
from osum.text.template import SulmTemplate, Template, WhisperTemplate
from osum.text.units import CtcUnits
from osum.types import Batch, Example

NUM_SAMPLES = (9_000, 4_801, 16_161, 1_600)
"""Of four examples: odd and even numbers of frames at every rate."""


def example(number: int) -> Example:
    audio = 0.1 * np.random.default_rng(number).standard_normal(NUM_SAMPLES[number])
    target = ("hello there<female>", "你好", "good morning<male>", "")[number]
    return Example(f"u{number}", "sgc", "en", "do it", target, audio.astype(np.float32), target.split("<")[0])


@pytest.fixture
def collate(bpe: PreTrainedTokenizerBase, tokenizer_dir: Path) -> Callable[[Iterable[int]], Batch]:
    """`collate([2, 0])` -> the training batch of examples 2 and 0."""
    units = CtcUnits.load(tokenizer_dir / "units.txt")

    def collate(numbers: Iterable[int], template: Template | None = None) -> Batch:
        return collating.collate([example(n) for n in numbers], template or SulmTemplate(bpe), units)

    return collate


@pytest.fixture
def prefixes(bpe: PreTrainedTokenizerBase) -> Callable[[Iterable[int]], Batch]:
    """`prefixes([2, 0])` -> what decoding of examples 2 and 0 starts from."""
    return lambda numbers, template=None: collating.collate_prefixes(
        [example(n) for n in numbers], template or SulmTemplate(bpe)
    )


@pytest.fixture
def whisper_template(bpe: PreTrainedTokenizerBase) -> WhisperTemplate:
    return WhisperTemplate(bpe, {"sgc": "<sgc>"})


@pytest.fixture
def qwen2_dir(tmp_path: Path, bpe: PreTrainedTokenizerBase) -> Path:
    """A pretrained language model: untied output layer, a larger vocabulary, and a taste of its own for sampling."""
    config = Qwen2Config(
        vocab_size=len(bpe) + 20,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config.update(repetition_penalty=9.0, do_sample=True, top_k=3, temperature=0.7)
    model.save_pretrained(tmp_path / "qwen2")
    return tmp_path / "qwen2"
