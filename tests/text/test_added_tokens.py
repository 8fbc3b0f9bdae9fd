"""Tags and time marks as tokens of their own."""

import pytest

from osum import tasks
from osum.text import added_tokens
from osum.text import tokenizer as tokenizers

STRINGS = ["<0.1>", "<0.5>", "<0.9>", "<happy>", "<throat clearing>", "<开始回答>"]


@pytest.fixture
def tokenizer() -> tokenizers.PreTrainedTokenizerBase:
    return tokenizers.train(["hello there", "你好吗"] * 20, 300)


def test_each_is_one_token_and_the_text_stays_the_same(tokenizer):
    text = "<0.1>hello<0.5><0.5>there<0.9>"
    words = tokenizer.encode("hello") + tokenizer.encode("there")
    before = len(tokenizer.encode(text))
    added_tokens.add(tokenizer, STRINGS)
    ids = tokenizer.encode(text)
    assert before == 4 * 5 + len(words) and len(ids) == 4 + len(words)
    for other in (text, "hello there<throat clearing>", "你好<开始回答>你", "<happy>", "a < b > c"):
        assert tokenizer.decode(tokenizer.encode(other), skip_special_tokens=True) == other
    written = tokenizer.decode(ids, skip_special_tokens=True)
    assert tasks.get("srwt").parse(written)["words"] == (("hello", 0.1, 0.5), ("there", 0.5, 0.9))


def test_they_follow_the_tokens_that_are_there(tokenizer):
    size = len(tokenizer)
    added_tokens.add(tokenizer, STRINGS)
    assert tokenizer.convert_tokens_to_ids(STRINGS) == list(range(size, size + 6))
    added_tokens.add(tokenizer, STRINGS)
    assert len(tokenizer) == size + 6


def test_a_folder_knows_what_was_added(tokenizer, tmp_path):
    assert added_tokens.load(tmp_path) == []
    added_tokens.add(tokenizer, STRINGS)
    tokenizers.save(tokenizer, tmp_path)
    added_tokens.save(STRINGS, tmp_path)
    assert added_tokens.load(tmp_path) == STRINGS
    assert tokenizers.load(tmp_path).encode("hello<happy>") == tokenizer.encode("hello<happy>")


def test_spelled_is_what_was_written_before(tokenizer):
    before = [tokenizer.encode(string) for string in STRINGS]
    added_tokens.add(tokenizer, STRINGS)
    assert added_tokens.spelled(tokenizer, STRINGS) == before


def test_what_would_be_read_back_otherwise_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"can't hold '<café>' as a token; rename it"):
        added_tokens.add(tokenizer, ["<café>"])
