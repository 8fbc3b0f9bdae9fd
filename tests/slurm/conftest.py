"""Slurm clusters for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing_programs
from tests.slurm.hosts import Hosts, why_not

PACKAGES = "slurmctld slurmd slurm-client munge"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three nodes that share this machine; one cluster for each process that runs tests."""
    with started(Cluster, first_port=17000) as made:
        yield made


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    """Three nodes that are hosts of their own."""
    if reason := why_not():
        pytest.skip(f"hosts need root: {reason}")
    with started(Hosts, first_port=18000) as made:
        yield made


@contextmanager
def started(kind: type[Cluster], first_port: int) -> Iterator[Cluster]:
    missing = missing_programs()
    if missing:
        pytest.skip(f"no {', '.join(missing)}; on Debian: apt-get install {PACKAGES}")
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # not below pytest's, which only its owner may enter
    folder.chmod(0o755)
    made = kind(folder, port=first_port + 100 * worker)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
