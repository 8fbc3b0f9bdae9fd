"""Where a process stands among those of its job, and how one becomes several."""

import re
import subprocess
import sys

import pytest

PLACE = """
import sys
from osum import dist
dist.launch("place", sys.argv[1:], int(sys.argv[1]))
print(dist.here(), sys.argv[2:], flush=True)
"""


@pytest.mark.parametrize("num_procs", [1, 2])
def test_a_module_becomes_so_many_processes_with_its_arguments(num_procs, tmp_path, repo_root):
    (tmp_path / "place.py").write_text(PLACE)
    words = [sys.executable, "-c", "import runpy; runpy.run_module('place', run_name='__main__')"]
    done = subprocess.run(
        [*words, str(num_procs), "a b"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{repo_root}:{tmp_path}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    places = [f"World(rank={n}, size={num_procs}, local_rank={n}) ['a b']" for n in range(num_procs)]
    assert sorted(done.stdout.splitlines()) == places


MEET = """
import sys
from datetime import timedelta
from osum import dist, log
def main():
    with dist.world(timeout=timedelta(seconds=3)) as world:
        print(world)
log.run_main(main)
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_does_not_come_is_missed_with_its_address(rank, repo_root):
    place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29871"}
    environment = {"PYTHONPATH": str(repo_root), "OMP_NUM_THREADS": "1", **place}
    command = [sys.executable, "-c", MEET]
    done = subprocess.run(command, cwd=repo_root, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    (line,) = [line for line in done.stderr.splitlines() if "processes met" in line]
    assert re.search(rf"rank {rank}: not all of the 2 processes met at 127.0.0.1:29871 \(.*\); look at the logs", line)
