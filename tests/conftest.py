"""What all tests share: the repository's root, one thread, no network."""

import gzip
import json
import socket
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
LOCAL_ADDRESSES = frozenset({"127.0.0.1", "::1", "localhost", "0.0.0.0"})


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
def write_corpus():
    """Writer of a corpus's manifests: `write_corpus(folder, {"id": "a", "text": ...}, ...)`, strings as they are.

    What a row does not say is: one second of 16 kHz audio, recording id = id, no speaker.
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
            audio = {"sampling_rate": 16000, "num_samples": 16000, "duration": 1.0, "channel_ids": [0]}
            recordings.append(json.dumps({"id": row["id"], "sources": [source], **audio}))
        for name, lines in (("recordings", recordings), ("supervisions", supervisions)):
            with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as f:
                f.writelines(line + "\n" for line in lines)
        return folder

    return write
