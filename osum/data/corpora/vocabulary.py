"""What the models read and write: the text tokenizer and the CTC units, from the training split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    out_dir: Path, utterances: Callable[[], Iterator[Utterance]], task_names: Sequence[str], cfg: TokenizerConfig
) -> None:
    """Write the tokenizer folder and `units.txt` to `out_dir`. ValueError if no utterance has a transcript.

    `utterances` begins anew with every call: all are read twice, and none is kept.
    """
    if not any(u.text for u in utterances()):
        raise ValueError("no utterance of the train split has a transcript; there is nothing to make a vocabulary of")
    if cfg.path is None:
        read = training_texts(utterances(), task_names, cfg)
        tokenizer = tokenizers.train(read, cfg.vocab_size, () if cfg.added_tokens else reserved(cfg))
    else:
        tokenizer = tokenizers.load(cfg.path)
    if cfg.added_tokens:
        added_tokens.add(tokenizer, reserved(cfg))
    tokenizers.save(tokenizer, out_dir)
    if cfg.added_tokens:
        added_tokens.save(reserved(cfg), out_dir)
    units = CtcUnits.build(u.text for u in utterances() if u.text)
    units.save(out_dir / UNITS_FILE)
    logger.info("vocabulary tokens=%d ctc_units=%d", len(tokenizer), len(units))


def training_texts(utterances: Iterable[Utterance], task_names: Sequence[str], cfg: TokenizerConfig) -> Iterator[str]:
    """Yield the text to train a tokenizer on: the prompts, and the targets of every task.

    Tags that are added tokens are left out: what they consist of is not to be merged.
    """
    for text in _prompts_and_targets(utterances, task_names, cfg):
        yield TAG.sub("", text) if cfg.added_tokens else text


def _prompts_and_targets(
    utterances: Iterable[Utterance], task_names: Sequence[str], cfg: TokenizerConfig
) -> Iterator[str]:
    for by_language in tasks.load_prompts(cfg.prompts_dir, task_names).values():
        for prompts in by_language.values():
            yield from PROMPT_COUNT * prompts
    targets = [tasks.get(name).target for name in task_names]
    for utterance in utterances:
        yield from filter(None, (target(utterance) for target in targets))


def reserved(cfg: TokenizerConfig) -> list[str]:
    """Return the strings that should be one token each: the tags of all tasks and all time marks."""
    tags = [string for task in tasks.discovered().values() for string in task.reserved]
    times = [f"<{tenths / 10:.1f}>" for tenths in range(round(cfg.max_time_s * 10) + 1)]
    return list(dict.fromkeys(["<only>", *tags, *times]))
