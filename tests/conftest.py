"""What all tests share: the repository's root, one thread, no network."""

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
