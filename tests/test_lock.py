"""Two runs in one folder: the second is refused, unless the first is dead."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from osum.lock import only_run_in

HOLD = """
import sys, time
from pathlib import Path
from osum.lock import only_run_in
with only_run_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, repo_root):
    """A process that holds the folder `exp`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "exp")]
    process = subprocess.Popen(command, cwd=repo_root, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_is_refused_and_told_who_is_there(holder, tmp_path):
    who = rf"exp: another run is in it \(host {socket.gethostname()}, pid {holder.pid}, since 20.*\); wait for it or"
    with pytest.raises(ValueError, match=who), only_run_in(tmp_path / "exp"):
        pytest.fail("entered")
    assert json.loads((tmp_path / ".exp.lock").read_text())["pid"] == holder.pid


def test_the_lock_of_a_killed_run_is_taken_over_at_once(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    started_s = time.monotonic()
    with only_run_in(tmp_path / "exp"):
        assert json.loads((tmp_path / ".exp.lock").read_text())["pid"] == os.getpid()
    assert time.monotonic() - started_s < 5


def test_nothing_is_left_after_a_run(tmp_path):
    for _ in range(2):
        with only_run_in(tmp_path / "exp"):
            assert [p.name for p in tmp_path.iterdir()] == [".exp.lock"]
        assert list(tmp_path.iterdir()) == []


def test_an_error_inside_comes_out_as_it_was(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^gone\.tar$"), only_run_in(tmp_path / "exp"):
        raise FileNotFoundError("gone.tar")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def other_host(tmp_path):
    """The lock of another machine, on a disk that keeps no locks across machines."""
    lock = tmp_path / ".exp.lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "since": "2026-01-01 00:00:00 UTC"}))
    return lock


def test_a_silent_owner_on_another_machine_is_dead(other_host, tmp_path):
    with only_run_in(tmp_path / "exp", beat_s=0.05):
        assert json.loads(other_host.read_text())["pid"] == os.getpid()


def test_a_beating_owner_on_another_machine_is_not(other_host, tmp_path):
    threading.Timer(0.2, os.utime, [other_host]).start()
    with (
        pytest.raises(ValueError, match=r"\(host elsewhere, pid 7, since 2026-01-01 00:00:00 UTC\)"),
        only_run_in(tmp_path / "exp", beat_s=0.3),
    ):
        pytest.fail("entered")


def test_the_owner_gives_signs_of_life(tmp_path):
    with only_run_in(tmp_path / "exp", beat_s=0.02):
        before = (tmp_path / ".exp.lock").stat().st_mtime_ns
        time.sleep(0.5)
        assert (tmp_path / ".exp.lock").stat().st_mtime_ns > before
