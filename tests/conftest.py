"""What all tests share: the repository's root, one thread, no network; a small tokenizer, shards and model."""

import gc
import gzip
import json
import logging
import multiprocessing
import os
import socket
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
LOCAL_ADDRESSES = frozenset({"127.0.0.1", "::1", "localhost", "0.0.0.0"})


def pytest_addoption(parser):
    parser.addoption("--mutations", type=int, default=320, help="mutations of tars, indexes, lists and audio to try")


@pytest.fixture(scope="session")
def num_mutations(request) -> int:
    """How many damaged files the tests of damage try."""
    return request.config.getoption("--mutations")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout under test."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # two threads on a busy machine can be ten times slower than one


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    connect = socket.socket.connect

    def local_only(self, address):
        if isinstance(address, tuple) and address[0] not in LOCAL_ADDRESSES:
            raise OSError(f"a test tried to reach {address}; tests run offline")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture
def fork_ranks(tmp_path):
    """`fork_ranks(body, 2)` -> (exit status, what it logged) of each process that ran `body()` as a rank of one job.

    A stage's errors, but none of its imports: the processes are forked from this one. One that does not end is killed.
    """

    def rank(body, place, path) -> None:
        from osum import log

        os.environ |= place
        logging.getLogger("osum").handlers.clear()
        with open(path, "w", buffering=1) as sys.stderr:
            try:
                log.run_main(body)
            except Exception:
                traceback.print_exc()
                raise

    def run(body, size: int = 2, limit_s: float = 100.0) -> list[tuple[int, str]]:
        context = multiprocessing.get_context("fork")
        common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        logs = [tmp_path / f"rank.{n}" for n in range(size)]
        places = [{**common, "RANK": str(n), "LOCAL_RANK": str(n)} for n in range(size)]
        made = [context.Process(target=rank, args=(body, *of_rank)) for of_rank in zip(places, logs, strict=True)]
        gc.collect()  # stores that an earlier test left have threads, for which a forked process would wait in vain
        for process in made:
            process.start()
        end_s = time.monotonic() + limit_s
        for process in made:
            process.join(max(0.0, end_s - time.monotonic()))
            process.kill()
            process.join()
        return [(process.exitcode, log.read_text()) for process, log in zip(made, logs, strict=True)]

    return run


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens at."""
    return free_port()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def write_corpus():
    """Writer of a corpus's manifests: `write_corpus(folder, {"id": "a", "text": ...}, ...)`, strings as they are.

    What a row does not say is: one second of audio, recording id = id, no speaker. The recording ends with it.
    """

    def write(folder: Path, *rows: dict | str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        recordings, supervisions = [], []
        for row in rows:
            if isinstance(row, str):
                supervisions.append(row)
                continue
            common = {"start": 0.0, "duration": 1.0, "channel": 0, "recording_id": row["id"]}
            supervisions.append(json.dumps(common | row, ensure_ascii=False))
            source = {"type": "file", "channels": [0], "source": f"{row['id']}.flac"}
            end_s = row.get("start", 0.0) + row.get("duration", 1.0)
            audio = {"sampling_rate": 16000, "num_samples": round(16000 * end_s), "duration": end_s, "channel_ids": [0]}
            recordings.append(json.dumps({"id": row["id"], "sources": [source], **audio}))
        for name, lines in (("recordings", recordings), ("supervisions", supervisions)):
            with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as f:
                f.writelines(line + "\n" for line in lines)
        return folder

    return write


TEXTS = ("hello there", "good morning", "how are you", "你好", "早上好")


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory):
    """A byte-level BPE tokenizer of 300 tokens with its CTC units."""
    from osum.text import tokenizer
    from osum.text.units import CtcUnits

    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.train(TEXTS, 300, ["<female>", "<male>"]).save_pretrained(folder)
    CtcUnits.build(TEXTS).save(folder / "units.txt")
    return folder


@pytest.fixture(scope="session")
def bpe(tokenizer_dir):
    """The tokenizer of `tokenizer_dir`."""
    from osum.text import tokenizer

    return tokenizer.load(tokenizer_dir)


def write_shards(folder: Path, count: int, seed: int) -> None:
    """Write a split of seeded noise, 0.3 to 1.2 s each, in two shards, serving ASR and SGC."""
    from osum.audio import io
    from osum.data.store import index_writer
    from osum.data.store.shards import ShardWriter, shard_name
    from osum.types import Utterance

    folder.mkdir(parents=True)
    rng, placed = np.random.default_rng(seed), []
    for shard in range(2):
        with ShardWriter(folder / shard_name(shard), "wav") as writer:
            for i in range(shard, count, 2):
                audio = (0.1 * rng.standard_normal(int(rng.integers(5_000, 19_000)))).astype(np.float32)
                text, language = TEXTS[i % 5], "zh" if i % 5 > 2 else "en"
                labels = {"gender": ("male", "female")[i % 3 % 2]}
                key, tasks = f"{folder.name}-{i:02d}", ("asr", "sgc")
                utterance = Utterance(key, "toy", language, text, len(audio), labels=labels, tasks=tasks)
                placed.append((shard, writer.add(utterance, io.encode(audio, "wav"))))
    index_writer.write(folder, [shard_name(s) for s in range(2)], placed)


@pytest.fixture(scope="session")
def shards_dir(tmp_path_factory):
    """A finished folder of stage 2: 24 utterances to train on, 4 for dev, 7 for test. Not to be changed."""
    folder = tmp_path_factory.mktemp("shards")
    for seed, (split, count) in enumerate({"train": 24, "dev": 4, "test": 7}.items()):
        write_shards(folder / split, count, seed)
    (folder / ".done.json").write_text('{"fingerprint": "toy"}')
    return folder


@pytest.fixture(scope="session")
def sulm_record(bpe):
    """How to build a speech-understanding language model of some 50,000 parameters."""
    from osum import tasks
    from osum.model.configs import AdaptorConfig, LlmSizes, SpeechLlmConfig, WhisperSizes
    from osum.model.folder import SulmRecord

    # Large initial weights: with small ones all logits are nearly equal, and tests of equality prove little.
    encoder = WhisperSizes(d_model=16, encoder_layers=2, decoder_layers=1, num_heads=2, ffn_dim=32, init_std=0.2)
    llm = LlmSizes(hidden_size=24, num_layers=2, num_heads=2, num_kv_heads=1, ffn_dim=32, init_std=0.2)
    prompts = {t: {k: list(v) for k, v in p.items()} for t, p in tasks.load_prompts(None, ["asr", "sgc"]).items()}
    cfg = SpeechLlmConfig(AdaptorConfig(num_layers=2, num_heads=2, ffn_dim=32), llm)
    return SulmRecord(encoder, cfg, len(bpe), int(bpe.eos_token_id), num_ctc_units=40, prompts=prompts)


@pytest.fixture
def sulm(sulm_record):
    """A seeded model of `sulm_record` in evaluation mode."""
    torch.manual_seed(5)
    return sulm_record.build().eval()
