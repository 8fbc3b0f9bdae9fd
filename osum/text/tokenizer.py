"""The text tokenizer of models that are trained from scratch: byte-level BPE in which tags stay whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from osum.text.normalize import HAN

FOLDER = "tokenizer"
"""Where a model folder of ours keeps it."""
END = "<|endoftext|>"
SPECIAL_TOKENS = (END, "<|im_start|>", "<|im_end|>")
"""As in Qwen2; the first ends every target and pads."""

PIECE = rf"<[^<>]*>|[{HAN}]| ?[^\s<>{HAN}]+|\s+|[<>]"
"""What BPE may merge: inside a tag, a Han character, or a word with the space before it; never across."""

RESERVED_COUNT = 2000
"""How often a reserved string counts in training, so that only the few words that are more frequent come first."""


def train(texts: Iterable[str], vocab_size: int, reserved: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Train a tokenizer on targets and prompts.

    `reserved` strings (tags, time marks) are merged first, so that each is one token as far as `vocab_size`
    allows. ValueError if `vocab_size` cannot hold the bytes and special tokens.
    """
    min_size = 256 + len(SPECIAL_TOKENS)
    if vocab_size < min_size:
        raise ValueError(f"tokenizer.vocab_size is {vocab_size}; bytes and special tokens need at least {min_size}")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_with_reserved(texts, reserved), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )


def save(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer folder. OSError naming the folder if the disk does not take it."""
    try:
        tokenizer.save_pretrained(folder)
    except Exception as err:
        # The tokenizers library raises its base class for every failure to write.
        if type(err) is not Exception:
            raise
        raise OSError(f"{folder}: {err}; free some space or choose another place, then run again") from err


def load(path: Path | str) -> PreTrainedTokenizerBase:
    """Load a tokenizer folder. ValueError naming the folder if it is unusable or has no end-of-text token."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path))
    except (OSError, ValueError, KeyError) as err:
        remedy = "the annotate stage makes one; a converted model gets one by --tokenizer"
        raise ValueError(f"{path}: not a tokenizer folder ({err}); {remedy}") from err
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{path}: the tokenizer has no eos_token; set one in its tokenizer_config.json")
    return tokenizer


def beside(model: Path) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer of a model folder, in `tokenizer/` as we write it or on top; None without one."""
    places = (model / FOLDER, model)
    found = next((place for place in places if (place / "tokenizer_config.json").is_file()), None)
    return None if found is None else load(found)


def _with_reserved(texts: Iterable[str], reserved: Sequence[str]) -> Iterable[str]:
    yield from texts
    for text in reserved:
        yield text * RESERVED_COUNT
