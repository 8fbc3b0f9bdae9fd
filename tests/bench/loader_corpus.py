"""Shards of utterances of 2 to 10 s, the same with FLAC and with WAV members: what the benchmark of loading reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from osum.audio import io
from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.store import index_writer
from osum.data.store.shards import LIST_NAME, ShardWriter, shard_name
from osum.rng import rng_for
from osum.text import tokenizer as tokenizers
from osum.types import Utterance

FORMATS = ("flac", "wav")
MIN_S, MAX_S = 2.0, 10.0
SHARD_SIZE = 100
NUM_WORDS = 500
WORDS_PER_S = 2.5
VOCAB_SIZE = 1000


def write(folder: Path, num_utterances: int) -> None:
    """Write `<format>/` with tars, their list and index, and the tokenizer of their texts."""
    words = _words()
    numbers = [range(n, min(n + SHARD_SIZE, num_utterances)) for n in range(0, num_utterances, SHARD_SIZE)]
    for audio_format in FORMATS:
        split, placed = folder / audio_format, []
        split.mkdir(parents=True)
        for shard, of_shard in enumerate(numbers):
            with ShardWriter(split / shard_name(shard), audio_format) as writer:
                for utterance, audio in (draw(number, words) for number in of_shard):
                    placed.append((shard, writer.add(utterance, io.encode(audio, audio_format))))
        names = [shard_name(shard) for shard in range(len(numbers))]
        index_writer.write(split, names, placed)
        (split / LIST_NAME).write_text("".join(f"{split / name}\n" for name in names))
    texts = [draw_text(number, 6.0, words) for number in range(num_utterances)]
    tokenizers.train(texts, VOCAB_SIZE).save_pretrained(folder / "tokenizer")


def draw(number: int, words: list[str]) -> tuple[Utterance, np.ndarray]:
    """Return an utterance and its audio: noise with the slope and the envelope of speech, which FLAC halves as well."""
    rng = rng_for("loader", number)
    num_samples = int(rng.uniform(MIN_S, MAX_S) * SAMPLE_RATE_HZ)
    envelope = np.repeat(rng.uniform(0.0, 0.02, num_samples // 1600 + 1), 1600)[:num_samples]
    audio = lfilter([1.0], [1.0, -0.9], envelope * rng.standard_normal(num_samples)).astype(np.float32)
    text = draw_text(number, num_samples / SAMPLE_RATE_HZ, words)
    about = Utterance(f"toy/u{number:06d}", "toy", "en", text, num_samples, speaker="s", tasks=("asr",))
    return replace(about, labels={"gender": "female"}), audio


def draw_text(number: int, duration_s: float, words: list[str]) -> str:
    """Return a transcript with as many words as one says in that time."""
    return " ".join(rng_for("text", number).choice(words, max(1, round(WORDS_PER_S * duration_s))))


def _words() -> list[str]:
    rng = rng_for("words")
    return ["".join(rng.choice(list("abcdefghijklmnoprstuvw"), rng.integers(2, 9))) for _ in range(NUM_WORDS)]
