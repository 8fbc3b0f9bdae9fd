"""The tokenizer trained by stage 1."""

from pathlib import Path

import pytest

from osum.text import tokenizer as tokenizers

TEXTS = ["hello there<happy>", "你好吗<开始回答>好的", "transcribe"] * 20
RESERVED = ["<0.0>", "<0.1>", "<0.2>", "<happy>", "<throat clearing>", "<开始回答>"]


@pytest.fixture(scope="module")
def tokenizer() -> tokenizers.PreTrainedTokenizerBase:
    return tokenizers.train(TEXTS, 400, RESERVED)


def test_tags_and_han_characters_are_single_tokens(tokenizer: tokenizers.PreTrainedTokenizerBase) -> None:
    for text in [*RESERVED, "你", "好", "hello"]:
        assert len(tokenizer(text).input_ids) == 1, text
    assert len(tokenizer("你好<开始回答>好的").input_ids) == 5


@pytest.mark.parametrize("text", ["hello there<happy>", "<0.1>hello<0.2>", "龘 é unseen\n", "a < b", "  two  spaces "])
def test_decode_inverts_encode(tokenizer: tokenizers.PreTrainedTokenizerBase, text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_end_token_is_the_first(tokenizer: tokenizers.PreTrainedTokenizerBase) -> None:
    assert (tokenizer.eos_token, tokenizer.eos_token_id, tokenizer.pad_token_id) == ("<|endoftext|>", 0, 0)
    assert tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]) == [1, 2]


def test_training_is_deterministic(tokenizer: tokenizers.PreTrainedTokenizerBase) -> None:
    assert tokenizers.train(TEXTS, 400, RESERVED).get_vocab() == tokenizer.get_vocab()


def test_saved_folder_loads(tokenizer: tokenizers.PreTrainedTokenizerBase, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = tokenizers.load(tmp_path)
    assert loaded("hello there<happy>").input_ids == tokenizer("hello there<happy>").input_ids
    assert loaded.eos_token_id == 0


def test_errors_name_folder_and_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path}: not a tokenizer folder"):
        tokenizers.load(tmp_path)
    with pytest.raises(ValueError, match="at least 259"):
        tokenizers.train(TEXTS, 100)
