"""Where a process stands among those of its job, and how one becomes several."""

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
