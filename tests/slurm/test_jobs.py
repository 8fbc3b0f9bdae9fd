"""Jobs of the Slurm launcher on a real Slurm: output, ranks, dependencies, signals and arrays."""

import re

import psutil
import pytest

from tests.slurm.cluster import FREEZER, wait_until

ARRAY = """
set -euo pipefail
. '{utils}/parse_options.sh'
. '{utils}/stage.sh'
stage=5 stop_stage=5
part='echo error: in %a; exit $((%a == 2 ? 4 : 0))'
run_stage 5 'in parts' '{utils}/{launcher}' --array 3 log/part.%a.log bash -c "$part"
run_stage 5 'together' '{utils}/{launcher}' log/all.log true
wait_for_stages
"""

STAGES = """
set -euo pipefail
. '{utils}/parse_options.sh'
. '{utils}/stage.sh'
stage=0 stop_stage=9
run_stage 0 'first part' '{utils}/slurm.sh' log/first.log echo first
run_stage 1 'second part' '{utils}/slurm.sh' log/second.log bash -c '{second}'
run_stage 2 'third part' '{utils}/slurm.sh' log/third.log cat log/second.log
wait_for_stages
"""

ASKED_TO_STOP = """
trap 'echo saved; exit {status}' USR1
echo run $SLURM_RESTART_COUNT
[ "${{SLURM_RESTART_COUNT:-0}}" -ge 1 ] || while :; do sleep 0.1; done
echo finished
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a hard name to work in."""
    made = tmp_path / "it's a 文件夹 100%"
    made.mkdir()
    return made


@pytest.fixture
def submit(cluster, repo_root, folder):
    """`submit("x.log", "true")` -> the job's number."""

    def queue(*words):
        done = cluster.run(repo_root / "utils/slurm.sh", *words, cwd=folder)
        assert done.returncode == 0, done.stderr
        (job,) = folder.glob("*.job")
        return job.read_text().strip()

    return queue


def has(path, text):
    """Wait until a log holds a text."""
    wait_until(lambda: path.is_file() and text in path.read_text(), f"no {text!r} in {path}", 60)


def test_a_job_leaves_its_log_and_a_file_that_can_be_submitted_again_by_hand(cluster, submit, folder):
    (folder / "path.sh").write_text("export GREETING=hello\n")
    submit("log/../x.log", "bash", "-c", 'echo "$GREETING $1"', "-", "a  b")
    first = cluster.wait((folder / "x.job").read_text().strip())
    assert (first["JobState"], first["JobName"], first["ExitCode"]) == ("COMPLETED", "x", "0:0")
    lines = (folder / "x.log").read_text().splitlines()
    assert lines[0].startswith("# ") and "command='bash' '-c'" in lines[0] and "restart=0" in lines[0]
    assert lines[1] == "hello a  b"
    assert re.fullmatch(r"# \S+ \S+ status=0 wall_s=\d+", lines[2])
    by_hand = cluster.run("sbatch", "--parsable", folder / "x.sbatch", cwd="/").stdout.strip()
    assert cluster.wait(by_hand)["JobState"] == "COMPLETED"
    assert (folder / "x.log").read_text().count("hello a  b\n") == 2


def test_every_rank_knows_its_place_and_where_all_meet(cluster, submit, folder):
    place = "$RANK/$WORLD_SIZE $LOCAL_RANK $SLURMD_NODENAME $MASTER_ADDR $((MASTER_PORT >= 20000))"
    layout = ("--nodes", "2", "--tasks", "2", "--cpus", "3", "--gpus", "2")
    job = submit(*layout, "x.log", "bash", "-c", f"echo {place} $CUDA_VISIBLE_DEVICES $SLURM_CPUS_PER_TASK")
    assert cluster.wait(job)["JobState"] == "COMPLETED"
    found = sorted(line for line in (folder / "x.log").read_text().splitlines() if line[0] != "#")
    one, two = (line.split()[2] for line in (found[0], found[2]))
    assert one != two
    assert found == [f"{rank}/4 {rank % 2} {node} 127.0.0.1 1 0,1 3" for rank, node in enumerate((one, one, two, two))]


def test_a_failure_has_the_commands_status_and_is_waited_for(cluster, submit, repo_root, folder):
    job = submit("x.log", "bash", "-c", "echo oh; exit 7")
    waited = cluster.run(repo_root / "utils/slurm_wait.sh", job, folder / "x.log")
    assert (waited.returncode, waited.stdout) == (7, "FAILED\n"), waited.stderr
    assert cluster.job(job)["ExitCode"] == "7:0"
    assert "status=7" in (folder / "x.log").read_text()


def test_a_stage_that_is_still_queued_is_not_queued_twice(cluster, submit, repo_root, folder):
    job = submit("x.log", "sleep", "100")
    again = cluster.run(repo_root / "utils/slurm.sh", "x.log", "true", cwd=folder)
    assert again.returncode == 2
    assert re.match(
        rf"slurm.sh: job {job} of .*/x.log is still \w+; wait until it has ended, or: scancel", again.stderr
    )
    cluster.run("scancel", job)
    cluster.wait(job)


def run_stages(cluster, repo_root, folder, second):
    (folder / "stages.sh").write_text(STAGES.format(utils=repo_root / "utils", second=second))
    return cluster.run("bash", folder / "stages.sh", cwd=folder)


def test_stages_run_one_behind_the_other(cluster, repo_root, folder):
    done = run_stages(cluster, repo_root, folder, "sleep 1; echo second")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"stage (\d) (\w+) (is queued|ended)", done.stdout) == [
        *[(str(n), name, "is queued") for n, name in enumerate(("first", "second", "third"))],
        *[(str(n), name, "ended") for n, name in enumerate(("first", "second", "third"))],
    ]
    third = (folder / "log/third.log").read_text()
    assert "\nsecond\n" in third and "status=0" in third.split("second", 2)[2]


def test_a_failing_stage_stops_those_behind_it_and_its_log_is_named(cluster, repo_root, folder):
    done = run_stages(cluster, repo_root, folder, "echo 2026-01-01 10:00:00 ERROR x.json:3: no key >&2; exit 3")
    assert done.returncode == 3
    first, second = done.stderr.strip().splitlines()
    job = (folder / "log/second.job").read_text().strip()
    assert first == (
        f"stages.sh: stage 1 (second) failed with status 3, job {job} FAILED: "
        "2026-01-01 10:00:00 ERROR x.json:3: no key"
    )
    assert second == f"stages.sh: the whole log is {folder}/log/second.log"
    assert cluster.wait((folder / "log/third.job").read_text().strip())["JobState"] == "CANCELLED"
    assert not (folder / "log/third.log").exists()


def assert_stopped_and_gone_on(job, text, status):
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1"), text
    told = re.findall(r"^(run.*|saved|finished|.*queued again: status=\d+)", text, re.MULTILINE)
    found = [line.rpartition("queued again: ")[2] for line in told]
    assert found == ["run", "saved", f"status={status}", "run 1", "finished"]


def test_a_job_that_is_asked_to_stop_is_queued_again_and_ends_well(cluster, submit, folder):
    job = submit("x.log", "bash", "-c", ASKED_TO_STOP.format(status=85))
    has(folder / "x.log", "\nrun")
    cluster.run("scancel", "--full", "--signal=USR1", job)  # to the script and to the ranks
    assert_stopped_and_gone_on(cluster.wait(job), (folder / "x.log").read_text(), 85)


def test_a_job_at_its_time_limit_is_queued_again_whatever_its_status(cluster, submit, folder):
    # Slurm sends the signal up to a minute earlier than asked for.
    job = submit("--time", "1", "--signal-s", "50", "x.log", "bash", "-c", ASKED_TO_STOP.format(status=1))
    assert_stopped_and_gone_on(cluster.wait(job), (folder / "x.log").read_text(), 1)


def test_a_command_that_ends_as_saved_is_queued_again_but_not_for_ever(cluster, submit, folder):
    job = submit("--max-requeues", "1", "x.log", "bash", "-c", "echo run; exit 85")
    ended = cluster.wait(job)
    assert (ended["JobState"], ended["Restarts"], ended["ExitCode"]) == ("FAILED", "1", "85:0")
    text = (folder / "x.log").read_text()
    assert text.count("\nrun\n") == 2 and "not queued again after 1 new starts: max_requeues is 1" in text


def test_a_job_with_a_killed_process_is_queued_again_if_that_is_asked_for(cluster, submit, folder):
    job = submit("--retries", "1", "x.log", "bash", "-c", "echo run; kill -KILL $$")
    ended = cluster.wait(job)
    assert (ended["JobState"], ended["Restarts"], ended["ExitCode"]) == ("FAILED", "1", "137:0")
    assert "not queued again after 1 new starts: retries is 1" in (folder / "x.log").read_text()


def test_a_process_that_fails_for_good_ends_the_job_and_those_that_wait_for_it(cluster, submit, folder):
    failing = 'echo rank "$RANK"; [ "$RANK" = 0 ] || exit 3; exec sleep 4323'
    job = submit("--nodes", "2", "--retries", "1", "x.log", "bash", "-c", failing)
    has(folder / "x.log", "rank 1")
    ended = cluster.wait(job, 180)  # srun waits for longer than Slurm needs to find out that a node is lost
    text = (folder / "x.log").read_text()
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "0"), text
    assert re.search(r"status=(\d+)", text)[1] == "3", text
    wait_until(lambda: not sleepers("4323"), "a process is left", 15)


def test_a_job_that_loses_a_node_goes_on_elsewhere(cluster, submit, folder):
    job = submit("--nodes", "2", "x.log", "bash", "-c", ASKED_TO_STOP.format(status=1))
    has(folder / "x.log", "\nrun")
    lost = cluster.run("scontrol", "show", "hostnames", cluster.job(job)["NodeList"]).stdout.split()[1]
    cluster.kill_node(lost)
    try:
        ended = cluster.wait(job, 120)
        assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1")
        assert lost not in cluster.run("scontrol", "show", "hostnames", ended["NodeList"]).stdout.split()
        assert (folder / "x.log").read_text().count("\nfinished") == 2
    finally:
        cluster.revive(lost)


def test_scancel_leaves_nothing_behind(cluster, submit, folder):
    if not FREEZER.is_dir():
        pytest.skip("Slurm can't catch processes that left their session without the freezer of cgroups v1")
    saving = "trap 'exit 85' TERM; setsid sleep 4321 & sleep 4322 & wait"
    job = submit("--nodes", "2", "x.log", "bash", "-c", saving)
    wait_until(lambda: len(sleepers("4321", "4322")) == 4, "the job did not start", 30)
    cluster.run("scancel", job)
    assert cluster.wait(job)["JobState"] == "CANCELLED"
    wait_until(lambda: not sleepers("4321", "4322"), "processes are left", 15)
    assert cluster.job(job)["Restarts"] == "0", "it saves, but nobody wants it to go on"


def sleepers(*seconds):
    """Processes that sleep for as many seconds."""
    return [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [""])[-1] in seconds]


def test_the_elements_of_an_array_have_their_numbers_and_logs(cluster, submit, repo_root, folder):
    job = submit("--array", "3", "part.%a.log", "bash", "-c", "echo part %a; [ %a != 2 ]")
    waited = cluster.run(repo_root / "utils/slurm_wait.sh", job, folder / "part.%a.log")
    logs = [folder / f"part.{n}.log" for n in (1, 2, 3)]
    assert (waited.returncode, waited.stdout) == (1, "FAILED\n"), waited.stderr
    assert [f"part {n}\n" in log.read_text() for n, log in enumerate(logs, start=1)] == [True] * 3
    assert [re.search(r"status=(\d)", log.read_text())[1] for log in logs] == ["0", "1", "0"]


def test_waiting_ends_with_what_the_log_tells_once_slurm_has_forgotten_the_job(cluster, repo_root, folder):
    (folder / "x.log").write_text("# host=a command='b'\n# 2026-01-01 10:00:00 status=0 wall_s=3\n")
    assert cluster.run(repo_root / "utils/slurm_wait.sh", "999999", folder / "x.log").returncode == 0
    (folder / "x.log").write_text("# status=0 wall_s=1\n# host=a command='b'\n")
    waited = cluster.run(repo_root / "utils/slurm_wait.sh", "999999", folder / "x.log")
    assert (waited.returncode, waited.stdout) == (1, "unknown to Slurm\n")


@pytest.mark.parametrize("launcher", ["run.sh", "slurm.sh"])
def test_the_part_of_a_stage_that_failed_is_named(cluster, repo_root, folder, launcher):
    (folder / "stages.sh").write_text(ARRAY.format(utils=repo_root / "utils", launcher=launcher))
    (folder / "log").mkdir()
    (folder / "log/part.2.log").write_text("# host=a command='b'\nerror: of an earlier run\n# x status=1 wall_s=0\n")
    done = cluster.run("bash", folder / "stages.sh", cwd=folder)
    job = f", job {(folder / 'log/part.job').read_text().strip()} FAILED" if launcher == "slurm.sh" else ""
    assert done.returncode == 4
    assert "&& bash -c echo\\ error:\\ in\\ 1" in done.stdout, "the first part can be pasted"
    assert done.stderr.strip().splitlines() == [
        f"stages.sh: stage 5 (part) failed with status 4{job}: error: in 2",
        f"stages.sh: the whole log is {folder}/log/part.2.log",
    ]
