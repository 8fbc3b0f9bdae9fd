"""Tags and time marks as tokens of their own: they are cut out of a text before the tokenizer sees the rest.

Qwen2 writes `<0.4>` in five tokens and `<happy>` in three; added, each is one. The text stays the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from osum.outputs import atomic_write

FILE = "added_tokens.txt"
"""In the tokenizer's folder: the strings that were added, one a line."""


def add(tokenizer: PreTrainedTokenizerBase, strings: Sequence[str]) -> None:
    """Make each string a token, after those that are there. ValueError for one that would be read back otherwise."""
    # Not special: they are part of the text, and decoding leaves special tokens out.
    tokenizer.add_tokens([AddedToken(string, normalized=False, special=False) for string in strings])
    for string in strings:
        ids = tokenizer.encode(string, add_special_tokens=False)
        if len(ids) != 1 or tokenizer.decode(ids) != string:
            raise ValueError(f"the tokenizer can't hold {string!r} as a token; rename it or leave added_tokens out")


def save(strings: Sequence[str], folder: Path) -> None:
    """Write the list of added strings into the tokenizer's folder."""
    atomic_write(folder / FILE, "".join(f"{string}\n" for string in strings))


def load(folder: Path) -> list[str]:
    """Return the strings that were added to the tokenizer of a folder, none without such a list."""
    path = folder / FILE
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def spelled(tokenizer: PreTrainedTokenizerBase, strings: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each string as the tokenizer would write it if nothing had been added."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in set(strings)]
    plain = Tokenizer.from_str(json.dumps(content))
    return [plain.encode(string, add_special_tokens=False).ids for string in strings]
