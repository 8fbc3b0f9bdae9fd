"""What the models read and write: the text tokenizer and the CTC units, from the training split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from osum import log, tasks
from osum.data.corpora.configs import TokenizerConfig
from osum.text import added_tokens
from osum.text import tokenizer as tokenizers
from osum.text.normalize import TAG
from osum.text.units import CtcUnits
from osum.types import Utterance

PROMPT_COUNT = 100
"""How often each prompt is read in training the tokenizer: prompts recur in every epoch, transcripts do not."""

UNITS_FILE = "units.txt"

logger = log.get(__name__)


def write_vocabulary(
    out_dir: Path, utterances: Sequence[Utterance], task_names: Sequence[str], cfg: TokenizerConfig
) -> None:
    """Write the tokenizer folder and `units.txt` to `out_dir`. ValueError if no utterance has a transcript."""
    texts = [u.text for u in utterances if u.text]
    if not texts:
        raise ValueError("no utterance of the train split has a transcript; there is nothing to make a vocabulary of")
    if cfg.path is None:
        read = training_texts(utterances, task_names, cfg)
        tokenizer = tokenizers.train(read, cfg.vocab_size, () if cfg.added_tokens else reserved(cfg))
    else:
        tokenizer = tokenizers.load(cfg.path)
    if cfg.added_tokens:
        added_tokens.add(tokenizer, reserved(cfg))
    tokenizers.save(tokenizer, out_dir)
    if cfg.added_tokens:
        added_tokens.save(reserved(cfg), out_dir)
    units = CtcUnits.build(texts)
    units.save(out_dir / UNITS_FILE)
    logger.info("vocabulary tokens=%d ctc_units=%d transcripts=%d", len(tokenizer), len(units), len(texts))


def training_texts(utterances: Sequence[Utterance], task_names: Sequence[str], cfg: TokenizerConfig) -> Iterator[str]:
    """Yield the text to train a tokenizer on: the targets of every task and the prompts.

    Tags that are added tokens are left out: what they consist of is not to be merged.
    """
    for text in _prompts_and_targets(utterances, task_names, cfg):
        yield TAG.sub("", text) if cfg.added_tokens else text


def _prompts_and_targets(
    utterances: Sequence[Utterance], task_names: Sequence[str], cfg: TokenizerConfig
) -> Iterator[str]:
    for by_language in tasks.load_prompts(cfg.prompts_dir, task_names).values():
        for prompts in by_language.values():
            yield from PROMPT_COUNT * prompts
    for name in task_names:
        task = tasks.get(name)
        yield from filter(None, map(task.target, utterances))


def reserved(cfg: TokenizerConfig) -> list[str]:
    """Return the strings that should be one token each: the tags of all tasks and all time marks."""
    tags = [string for task in tasks.discovered().values() for string in task.reserved]
    times = [f"<{tenths / 10:.1f}>" for tenths in range(round(cfg.max_time_s * 10) + 1)]
    return list(dict.fromkeys(["<only>", *tags, *times]))
