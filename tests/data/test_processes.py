import os
import signal
import subprocess
import sys
import time

import pytest

from osum.data.processes import map_fresh


def pid_and_square(number):
    return os.getpid(), number**2


@pytest.mark.parametrize("num_procs", [1, 2, 5])
def test_results_come_in_order_each_from_a_process_of_its_own(num_procs):
    pids, squares = zip(*map_fresh(pid_and_square, range(4), num_procs), strict=True)
    assert squares == (0, 1, 4, 9)
    assert len({*pids, os.getpid()}) == 5


def refuse(number):
    raise ValueError(f"number {number} is bad")


def test_errors_of_the_function_are_raised_here():
    with pytest.raises(ValueError, match="number 7 is bad"):
        list(map_fresh(refuse, [7, 8], 2))


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_an_error_and_no_hang():
    with pytest.raises(OSError, match=r"status -9 .*lower num_procs"):
        list(map_fresh(die, [1, 2, 3], 2))


def test_who_stops_listening_ends_the_processes():
    results = map_fresh(lambda s: time.sleep(s) or os.getpid(), [0, 60], 2)
    next(results)
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 10


ORPHANS = """
import os, sys, time
from osum.data.processes import map_fresh
def work(n):
    print(os.getpid(), flush=True)
    time.sleep(0.5)
list(map_fresh(work, range(2), 2))
"""


def test_processes_end_soon_after_a_killed_main_process(repo_root):
    main = subprocess.Popen(
        [sys.executable, "-c", ORPHANS], cwd=repo_root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert all(main.stdout.readline() for _ in range(2))
    main.kill()
    # The pipe ends when the last process that holds it has ended.
    assert main.communicate(timeout=30) == ("", None)
