"""The whole recipe on a few dozen utterances: every stage, each alone, again, killed, and from any folder."""

import json
import re
import resource
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

TASKS = ("asr", "srwt", "ved", "ser", "ssr", "sgc", "sap", "sttc")
SCORES = ("n", "wer", "accuracy", "macro_f1", "uar", "majority", "chance", "aas_ms", "coverage", "exact")
OUTPUTS = {
    "prepare": ("data/manifests/mini", ("recordings.jsonl.gz", "supervisions.jsonl.gz", "drops.json")),
    "annotate": (
        "data/cuts",
        ("train.jsonl.gz", "dev.jsonl.gz", "test.jsonl.gz", "data_card.md", "tokenizer/units.txt"),
    ),
    "shard": ("data/shards", ("train/shards.list", "train/index.npy", "dev/index.npy", "test/index.npy")),
    "train_whisper": ("exp/whisper", ("config.yaml", "metrics.jsonl", "model.safetensors")),
    "train_sulm": ("exp/sulm", ("config.yaml", "metrics.jsonl", "model.safetensors")),
    "decode": ("exp/decode", tuple(f"test.{task}{swapped}.jsonl" for task in TASKS for swapped in ("", ".swapped"))),
}


@dataclass(frozen=True)
class Run:
    """One run of the recipe: its folder and what it printed."""

    folder: Path
    printed: str

    @property
    def alone(self) -> dict[str, str]:
        """The command that each stage's banner shows, by stage."""
        return dict(re.findall(r"^=== stage \d (\w+): .*\n +alone: (.+)$", self.printed, re.MULTILINE))


def bash(command: str, cwd: str = "/") -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", command], cwd=cwd, text=True, capture_output=True, timeout=600)


def recipe(readme_command: str, root: Path, folder: Path) -> str:
    """Return a command of the README for the small configuration, with its outputs in a folder of the test."""
    assert "--conf mini " in readme_command
    command = readme_command.replace("egs/osum/run.sh", shlex.quote(str(root / "egs/osum/run.sh")))
    places = f"--data-dir {shlex.quote(str(folder / 'data'))} --exp-dir {shlex.quote(str(folder / 'exp'))}"
    return f"{command.replace('--conf mini', '--conf smoke')} {places}"


@pytest.fixture(scope="module")
def main_command(readme_commands, repo_root, tmp_path_factory) -> tuple[str, Path]:
    """The README's first command, and the folder it works in, whose name is not a simple one."""
    folder = tmp_path_factory.mktemp("recipe") / "it's a 文件夹"
    return recipe(readme_commands[0], repo_root, folder), folder


@pytest.fixture(scope="module")
def run(main_command) -> Run:
    """The recipe from nothing to scores, run once."""
    command, folder = main_command
    done = bash(command)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Run(folder, done.stdout)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return time stamp and size of every file but the logs."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "log"]
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_size) for p in files}


def children_cpu_s() -> float:
    """Return the CPU time of all finished child processes: unlike wall time, other work on the machine is not in it."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def losses(folder: Path) -> list[tuple]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(row["step"], row["split"], row["loss"]) for row in map(json.loads, lines)]


def test_every_stage_runs_and_writes_what_the_next_one_reads(run):
    assert list(run.alone) == [*OUTPUTS, "score"]
    for folder, names in OUTPUTS.values():
        missing = [name for name in (".done.json", *names) if not (run.folder / folder / name).is_file()]
        assert missing == [], folder
    assert sorted(p.stem for p in (run.folder / "exp/log").iterdir()) == sorted(run.alone)
    assert not [p for p in run.folder.rglob("*") if p.name.endswith((".partial", ".tmp"))]


def test_scores_hold_every_task_with_every_name_and_the_swapped_audio(run):
    scores = json.loads((run.folder / "exp/scores.json").read_text())
    assert list(scores) == ["test"]
    assert sorted(scores["test"]) == sorted(TASKS)
    for task, entry in scores["test"].items():
        assert set(SCORES) <= set(entry), task
        assert set(SCORES) <= set(entry["swapped_audio"]), task
        assert entry["n"] == entry["swapped_audio"]["n"] > 0
        rates = [entry[name] for name in ("accuracy", "macro_f1", "uar", "majority", "chance", "coverage", "exact")]
        assert all(rate is None or 0 <= rate <= 1 for rate in rates), (task, rates)
    for name in ("report.md", "report.html"):
        text = (run.folder / "exp" / name).read_text(encoding="utf-8")
        assert all(task in text for task in TASKS)


def test_a_second_run_changes_nothing(run, main_command):
    before, started_s = contents(run.folder), children_cpu_s()
    done = bash(main_command[0])
    assert done.returncode == 0, done.stderr
    assert contents(run.folder) == before
    assert done.stdout.count("reason=up-to-date") == len(run.alone) == 7
    # A stage that imported torch before it knew that there is nothing to do would take more alone.
    assert children_cpu_s() - started_s < 10


@pytest.mark.parametrize("stage", [*OUTPUTS, "score"])
def test_each_stage_can_be_run_alone_by_its_pasted_command_and_gives_the_same(run, stage):
    folder = run.folder / OUTPUTS.get(stage, ("exp", ()))[0]
    if stage == "score":
        before = (folder / "scores.json").read_text()
        (folder / "scores.json").unlink()
    else:
        before = losses(folder) if stage.startswith("train") else sorted(name for name in contents(folder))
        shutil.rmtree(folder)
    done = bash(run.alone[stage])
    assert done.returncode == 0, done.stderr[-3000:]
    if stage == "score":
        assert (folder / "scores.json").read_text() == before
    else:
        again = losses(folder) if stage.startswith("train") else sorted(name for name in contents(folder))
        assert again == before, "the same seed gives the same loss to the bit, and the same files"


@pytest.mark.parametrize("stage", ["train_whisper", "train_sulm", "decode", "score"])
def test_a_full_disk_is_named_with_the_remedy(run, stage, tmp_path):
    """The data stages are looked at in tests/test_bad_input.py. A file that may not grow is to them a full disk."""
    out = tmp_path / "out"
    done = bash(f"ulimit -f 4; {run.alone[stage].removesuffix(')')} --out_dir {out})")
    assert done.returncode == 1, done.stderr[-3000:]
    errors = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert errors and str(tmp_path) in errors[0], done.stderr[-3000:]
    assert "File too large; free some space" in errors[0] and "then run again" in errors[0]
    assert not (out / ".done.json").exists() and not (out / "report/.done.json").exists()


def test_one_utterance_of_each_of_the_eight_tasks_is_learnt_by_heart(run, repo_root):
    data = run.folder / "data"
    options = {
        "config": "conf/smoke/train_sulm.yaml",
        "shards_dir": data / "shards",
        "tokenizer_dir": data / "cuts/tokenizer",
        "data.tasks": f"[{','.join(TASKS)}]",
        "encoder": "{d_model: 64, encoder_layers: 1, num_heads: 2, ffn_dim: 128}",
        "model.llm.hidden_size": 64,
        "train.ctc_weight": 0,
        "train.optim": "{lr: 3.0e-3, muon_lr: 1.0e-2, warmup_steps: 10, schedule: cosine}",
        "max_steps": 300,
    }
    command = shlex.join(
        ["python", "-m", "osum.bin.overfit", *(f"--{name}={value}" for name, value in options.items())]
    )
    done = bash(f". ./path.sh && {command}", cwd=str(repo_root / "egs/osum"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "exact=8/8" in done.stderr


def test_one_stage_of_the_readme(run, readme_commands, repo_root):
    (command,) = [line for line in readme_commands if "--stage 2 --stop-stage 2" in line]
    done = bash(recipe(command, repo_root, run.folder))
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^=== stage (\d) (\w+)", done.stdout, re.MULTILINE) == [("2", "shard")]


def test_killed_training_does_not_count_and_goes_on_where_it_stood(run, repo_root):
    folder = run.folder / "exp killed"
    train = run.alone["train_whisper"].replace(r"/exp/whisper", r"/exp\ killed/whisper")
    assert train != run.alone["train_whisper"]
    train = f"{train.removesuffix(')')} --train.max_steps 40)"
    with subprocess.Popen(
        ["bash", "-c", train], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    ) as job:
        assert any("checkpoint step=4 " in line for line in job.stderr), "it ended before its first checkpoint"
        for process in (*psutil.Process(job.pid).children(recursive=True), job):
            process.kill()
    assert (folder / "whisper").is_dir()
    assert not (folder / "whisper/.done.json").exists()

    places = f"--data-dir {shlex.quote(str(run.folder / 'data'))} --exp-dir {shlex.quote(str(folder))}"
    script = shlex.quote(str(repo_root / "egs/osum/run.sh"))
    refused = bash(f"bash {script} --conf smoke --stage 4 --stop-stage 4 --nproc 1 {places}")
    assert refused.returncode != 0
    message = refused.stderr.splitlines()[-2]
    assert message.startswith("run.sh: stage 4 (train_sulm) failed with status 1: ")
    assert "whisper: the stage that writes it has not finished; run that stage again" in message

    resumed = bash(train)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert "resume step=4" in resumed.stderr
    assert (folder / "whisper/.done.json").exists()
