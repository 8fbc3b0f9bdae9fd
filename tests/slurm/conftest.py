"""A Slurm cluster for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing_programs

PACKAGES = "slurmctld slurmd slurm-client munge"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three nodes that share this machine; one cluster for each process that runs tests."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"no {', '.join(missing)}; on Debian: apt-get install {PACKAGES}")
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # not below pytest's, which only its owner may enter
    folder.chmod(0o755)
    started = Cluster(folder, port=17000 + 100 * worker)
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)
