"""What the Slurm launcher writes, and what it says about wrong use; no cluster is needed."""

import re
import subprocess

import pytest

EVERYTHING = """\
[all]
partition = fast   # a remark
account = ours
nodes = 4

[train]
nodes = 2
tasks = 8
gpus = 8
cpus = 4
mem = 100G
time = 1-00:00:00
extra = --qos=high --exclude=n[7-8]
signal_s = 120
max_requeues = 9
retries = 3

[decode]
time = 5
"""


@pytest.fixture
def launch(repo_root, tmp_path):
    """`launch("--dry-run", "x.log", "true")` -> the finished launcher, started in a folder with a hard name."""
    folder = tmp_path / "it's a 文件夹 100%"
    folder.mkdir()

    def run(*words, program="slurm.sh"):
        command = [str(repo_root / "utils" / program), *map(str, words)]
        return subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=60)

    run.folder = folder
    return run


def shown(done) -> list[str]:
    assert done.returncode == 0, done.stderr
    return re.findall(r"^    \| (.*)$", done.stdout, re.MULTILINE)


def test_the_file_is_shown_and_nothing_is_written(launch):
    (launch.folder / "path.sh").touch()
    command = ["python", "-m", "some.module", "--config", "a b.yaml", "--flag"]
    lines = shown(launch("--dry-run", "--after", "17", "--time", "5", "log/x.log", *command))
    assert [line for line in lines if line.startswith("#SBATCH")] == [
        '#SBATCH --job-name="x"',
        f'#SBATCH --chdir="{launch.folder}"',
        f'#SBATCH --output="{launch.folder}%/log/x.log"',
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --time=5",
    ]
    assert lines[-5:] == [
        ". ./path.sh",
        "max_requeues=100 retries=0",
        "run_job python -m some.module \\",
        "  --config a\\ b.yaml \\",
        "  --flag",
    ]
    submitted = launch("--dry-run", "--after", "17", "x.log", *command).stdout.splitlines()[-1]
    assert submitted.startswith("    submit: sbatch --parsable --kill-on-invalid-dep=yes --dependency=afterok:17 ")
    assert [p.name for p in launch.folder.iterdir()] == ["path.sh"]


def test_the_options_of_a_kind_come_before_those_of_all_and_given_ones_before_both(launch):
    (launch.folder / "slurm.conf").write_text(EVERYTHING)
    conf = ("--dry-run", "--conf", "slurm.conf", "--kind")
    train = shown(launch(*conf, "train", "--tasks", "4", "x.log", "true"))
    assert [line.removeprefix("#SBATCH ") for line in train if line.startswith("#SBATCH")][6:] == [
        "--ntasks-per-node=4",
        "--gpus-per-node=8",
        "--cpus-per-task=4",
        "--mem=100G",
        "--time=1-00:00:00",
        "--partition=fast",
        "--account=ours",
        "--signal=B:USR1@120",
        "--qos=high",
        "--exclude=n[7-8]",
    ]
    assert "#SBATCH --nodes=2" in train and "max_requeues=9 retries=3" in train
    decode = shown(launch(*conf, "decode", "x.log", "true"))
    assert {"#SBATCH --nodes=4", "#SBATCH --time=5", "#SBATCH --account=ours"} <= set(decode)
    assert not [line for line in decode if "qos" in line or "signal" in line]


def test_an_array_runs_the_command_with_the_number_of_each_element(launch):
    lines = shown(launch("--dry-run", "--array", "3", "log/part.%a.log", "echo", "--part", "%a", "100%"))
    assert "#SBATCH --array=1-3" in lines and '#SBATCH --job-name="part"' in lines
    assert next(line for line in lines if "--output=" in line).endswith('/log/part.%a.log"')
    assert lines[-2:] == ["run_job echo \\", '  --part "$SLURM_ARRAY_TASK_ID" 100%']


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("[all]\nnodse = 2\n", "c:2: unknown option 'nodse'; it has: nodes tasks gpus cpus mem time partition"),
        ("nonsense\n", "c:1: 'nonsense' is neither [section] nor name = value"),
        ("[all]\nnodes = two\n", "option --nodes is 'two'; it must be a whole number of at least 1"),
    ],
)
def test_a_wrong_file_gives_one_line_with_its_place(launch, conf, message):
    (launch.folder / "c").write_text(conf)
    done = launch("--conf", "c", "x.log", "true")
    assert done.returncode == 2 and done.stderr.startswith(f"slurm.sh: {message}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["run.sh", "slurm.sh"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.log"], "it needs LOG COMMAND [ARG...]; see --help"),
        (["--nodes", "2", "--what", "x.log", "true"], "unknown option --what; it has: --array --dry-run --after"),
        (["--array", "0", "x.log", "true"], "option --array is '0'; it must be a whole number of at least 1"),
    ],
)
def test_wrong_use_gives_one_line(launch, program, words, message):
    done = launch(*words, program=program)
    assert done.returncode == 2 and done.stderr.startswith(f"{program}: {message}") and done.stderr.count("\n") == 1


def test_both_launchers_take_the_same_options(launch):
    helps = [launch("--help", program=program).stdout for program in ("run.sh", "slurm.sh")]
    options = [re.findall(r"^  --([a-z-]+)", text, re.MULTILINE) for text in helps]
    assert options[0] == options[1] and {"nodes", "gpus", "array", "after", "dry-run"} <= set(options[0])


def test_the_local_launcher_runs_an_array_one_after_another_and_stops_at_the_first_failure(launch):
    done = launch(
        "--array", "3", "--gpus", "8", "p.%a.log", "bash", "-c", "echo part %a; [ %a -lt 2 ]", program="run.sh"
    )
    assert (done.returncode, done.stdout) == (1, "part 1\npart 2\n")
    assert sorted(p.name for p in launch.folder.iterdir()) == ["p.1.log", "p.2.log"]
    assert "status=1" in (launch.folder / "p.2.log").read_text()


def test_the_recipe_shows_the_jobs_of_all_stages_each_behind_the_one_before(repo_root, tmp_path):
    script = repo_root / "egs/osum/run.sh"
    words = ["--conf", "smoke", "--launcher", "slurm", "--dry-run", "--exp-dir", tmp_path / "exp", "--nproc", "4"]
    done = subprocess.run(["bash", script, *words], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    behind = re.findall(r"submit: .*?(?:--dependency=afterok:(\w+) )?\S+/(\w+)\.sbatch", done.stdout)
    assert behind == [
        ("", "prepare"),
        ("JOB_OF_PREPARE", "annotate"),
        ("JOB_OF_ANNOTATE", "shard"),
        ("JOB_OF_SHARD", "train_whisper"),
        ("JOB_OF_TRAIN_WHISPER", "train_sulm"),
        ("JOB_OF_TRAIN_SULM", "decode"),
        ("JOB_OF_DECODE", "score"),
    ]
    assert done.stdout.count("#SBATCH --ntasks-per-node=4") == 2, "as --nproc says, for both training stages"
    assert done.stdout.count("#SBATCH --signal=B:USR1@300") == 2
    assert not (tmp_path / "exp").exists()
