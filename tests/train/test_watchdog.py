"""A run that stands still ends by itself, and says where it stood."""

import re
import signal
import subprocess
import sys
import time

from osum.train.watchdog import STALLED_EXIT_STATUS, watching

STALL = """
import sys, time
from pathlib import Path
from osum.train.watchdog import watching

def wait_for_a_disk_that_hangs():
    time.sleep(60)

with watching(0.5, Path(sys.argv[1]), rank=3) as watchdog:
    for _ in range(5):
        time.sleep(0.2)
        watchdog.progress("step 7")
    wait_for_a_disk_that_hangs()
"""


def test_a_rank_that_stalls_ends_with_its_status_and_leaves_its_stacks(tmp_path, repo_root):
    command = [sys.executable, "-c", STALL, str(tmp_path / "stalls")]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, timeout=50)
    assert done.returncode == STALLED_EXIT_STATUS == 86
    stacks = (tmp_path / "stalls" / "rank-00003.txt").read_text()
    assert re.match(r"rank 3 stood still for [01] s after step 7\n", stacks)
    assert "in wait_for_a_disk_that_hangs" in stacks
    assert "rank=3 stalled: nothing for" in done.stderr


SUSPENDED = """
import sys, time
from pathlib import Path
from osum.train.watchdog import watching

with watching(3.0, Path(sys.argv[1]), rank=0):
    print("begun", flush=True)
    for _ in range(20):
        time.sleep(0.05)
"""


def test_the_time_in_which_a_run_was_suspended_does_not_count(tmp_path, repo_root):
    command = [sys.executable, "-c", SUSPENDED, str(tmp_path / "stalls")]
    with subprocess.Popen(command, cwd=repo_root, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"begun\n"
        run.send_signal(signal.SIGSTOP)
        time.sleep(4.0)
        run.send_signal(signal.SIGCONT)
    assert run.returncode == 0 and not (tmp_path / "stalls").exists()


def test_a_run_that_ends_is_left_alone(tmp_path):
    with watching(0.1, tmp_path / "stalls", rank=0) as watchdog:
        watchdog.progress("all")
    time.sleep(0.3)
    assert not (tmp_path / "stalls").exists()


def test_zero_never_ends_a_run(tmp_path):
    with watching(0, tmp_path / "stalls", rank=0) as watchdog:
        assert watchdog.last == "start"
        time.sleep(0.2)
