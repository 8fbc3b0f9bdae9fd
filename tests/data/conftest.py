"""Small shards made without Lhotse: tones as audio, a tokenizer of single characters, prompts of three words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from osum import tasks
from osum.audio import io
from osum.data.corpora.configs import FilterConfig
from osum.data.drops import Drops
from osum.data.store import index_writer
from osum.data.store.index import Index
from osum.data.store.shards import ShardWriter, shard_name
from osum.types import Utterance

MakeIndex = Callable[..., Index]


class CharTokenizer:
    """One token per character: its code point."""

    eos_token_id = 0

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [ord(c) for c in text]


class CharUnits:
    """One CTC unit per character: 1 for `a` and so on."""

    def encode(self, text: str) -> list[int]:
        return [ord(c) - ord("a") + 1 for c in text if c.isalpha()]


def tone(num_samples: int, hz: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(num_samples) / 16_000)).astype(np.float32)


def utterances(count: int, seed: int = 0) -> list[Utterance]:
    """Utterances of 0.5 to 3 s with gender on all, emotion on every second, all serving ASR."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        labels = {"gender": ("male", "female")[i % 2]} | ({"emotion": "happy"} if i % 2 else {})
        served = ("asr", "sgc") + (("ser",) if i % 2 else ())
        num_samples = int(rng.integers(8_000, 48_000))
        text = "a" * int(rng.integers(3, 12))
        language = ("en", "zh")[i % 2]
        made.append(Utterance(f"corpus/u{i:03d}", "toy", language, text, num_samples, labels=labels, tasks=served))
    return made


@pytest.fixture
def make_index(tmp_path: Path) -> MakeIndex:
    def make(of: list[Utterance], num_shards: int = 2, audio_format: str = "flac", name: str = "train") -> Index:
        folder = tmp_path / name
        folder.mkdir()
        placed = []
        for shard in range(num_shards):
            with ShardWriter(folder / shard_name(shard), audio_format) as writer:
                for i in range(shard, len(of), num_shards):
                    audio = tone(of[i].num_samples, 100.0 + i)
                    utterance = replace(of[i], num_samples=len(audio))
                    placed.append((shard, writer.add(utterance, io.encode(audio, audio_format))))
        index_writer.write(folder, [shard_name(s) for s in range(num_shards)], placed)
        return Index.open(folder)

    return make


@pytest.fixture
def toy() -> Callable[[int], list[Utterance]]:
    return utterances


@pytest.fixture
def tokenizer() -> CharTokenizer:
    return CharTokenizer()


@pytest.fixture
def units() -> CharUnits:
    return CharUnits()


@pytest.fixture
def task_objects() -> dict[str, tasks.Task]:
    return {name: tasks.get(name) for name in ("asr", "ser", "sgc")}


@pytest.fixture
def prompts() -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        t: {"en": (f"{t} please", f"now {t}", f"do {t}"), "zh": (f"请{t}", f"做{t}")} for t in ("asr", "ser", "sgc")
    }


@pytest.fixture
def index_of(tmp_path: Path, repo_root: Path) -> Callable[..., tuple[Index, Drops]]:
    """Index one source, and return its index and ledger: `index_of("wenet_raw", path, language="zh")`."""
    from osum.data.sources.config import SourceConfig
    from osum.data.sources.indexing import index_split
    from osum.data.sources.judge import Wanted

    def index(source_format: str, path: Path, decode: bool = False, num_procs: int = 1, **options: str):
        source = SourceConfig(**{"corpus": "toy", "format": source_format, "path": path, **options})
        served = (*tasks.names(), "only:sap+sgc")
        folder = tmp_path / f"index{len(list(tmp_path.glob('index*')))}"
        wanted = Wanted(served, FilterConfig(), decode)
        drops = index_split([source], folder, repo_root / "local/labels", wanted, num_procs)
        assert drops.read == drops.used + drops.num_dropped
        return Index.open(folder), drops

    return index
