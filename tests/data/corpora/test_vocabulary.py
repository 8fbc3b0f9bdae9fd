"""Tokenizer folder and CTC units of stage 1."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from osum import tasks
from osum.data.corpora.configs import TokenizerConfig
from osum.data.corpora.vocabulary import reserved, training_texts, write_vocabulary
from osum.text import added_tokens
from osum.text import tokenizer as tokenizers
from osum.text.units import CtcUnits
from osum.types import Utterance

SPOKEN = [Utterance(f"u{n}", "toy", "en", "hello 你", 16000, labels={"gender": "male"}) for n in range(50)]
SMALL = TokenizerConfig(vocab_size=700, max_time_s=1.0)


def spoken() -> Iterator[Utterance]:
    return iter(SPOKEN)


def test_folder_holds_tokenizer_and_units(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, spoken, ["asr", "sgc"], SMALL)
    tokenizer = tokenizers.load(tmp_path)
    assert len(tokenizer) <= 700
    assert [text for text in reserved(SMALL) if len(tokenizer(text).input_ids) != 1] == []
    assert CtcUnits.load(tmp_path / "units.txt").symbols == ("<blank>", "|", "e", "h", "l", "o", "你")


def test_an_existing_tokenizer_is_taken_over(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "a", spoken, ["asr"], SMALL)
    write_vocabulary(tmp_path / "b", spoken, ["asr"], TokenizerConfig(path=str(tmp_path / "a")))
    assert tokenizers.load(tmp_path / "b").get_vocab() == tokenizers.load(tmp_path / "a").get_vocab()


def test_tags_and_times_can_be_added_to_either_tokenizer(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "a", spoken, ["asr"], TokenizerConfig(vocab_size=300))
    for name, path in (("trained", None), ("taken over", str(tmp_path / "a"))):
        cfg = TokenizerConfig(path=path, vocab_size=300, max_time_s=1.0, added_tokens=True)
        write_vocabulary(tmp_path / name, spoken, ["asr", "sgc"], cfg)
        tokenizer = tokenizers.load(tmp_path / name)
        assert added_tokens.load(tmp_path / name) == reserved(cfg)
        ids = tokenizer.convert_tokens_to_ids(reserved(cfg))
        assert ids == list(range(len(tokenizer) - len(ids), len(tokenizer))) and len(tokenizer) <= 300 + len(ids)
        assert [tokenizer.encode(text) for text in reserved(cfg)] == [[n] for n in ids]
    assert not (tmp_path / "a" / added_tokens.FILE).exists()


def test_training_text_is_targets_and_prompts() -> None:
    texts = set(training_texts(SPOKEN[:1], ["sgc", "ser"], SMALL))
    assert {"hello 你<male>", tasks.load_prompts(None, ["ser"])["ser"]["zh"][0]} < texts
    assert not any(text.startswith("hello") and "male" not in text for text in texts)


def test_reserved_strings() -> None:
    strings = reserved(TokenizerConfig(max_time_s=0.2))
    assert {"<only>", "<asr>", "<throat clearing>", "<开始回答>", "<0.0>", "<0.1>", "<0.2>"} < set(strings)
    assert "<0.3>" not in strings
    assert len(set(strings)) == len(strings)


def test_no_transcripts_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no utterance of the train split has a transcript"):
        write_vocabulary(tmp_path, lambda: iter([Utterance("u", "toy", "en", None, 1)]), ["asr"], SMALL)
