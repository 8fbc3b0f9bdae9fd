"""The whole recipe through Slurm, training on two nodes; then training that is stopped, or loses a node."""

import json
import re

import pytest

SLURM_CONF = """
[all]
partition = test
mem = 2G
gpus = 0
[train]
nodes = 2
tasks = 1
signal_s = 60
"""
DATA_STAGES, TRAINING = ("prepare", "annotate", "shard_part", "shard"), ("train_whisper", "train_sulm")
STAGES = (*DATA_STAGES, *TRAINING, "decode_part", "decode", "score")
ARRAYS = {"shard_part", "decode_part"}
TIMES = {"wall_s", "eta_s", "audio_s_per_s"}


@pytest.fixture(scope="module")
def recipe(cluster, repo_root, tmp_path_factory):
    """The folder of a run of the whole recipe, and what it printed."""
    folder = tmp_path_factory.mktemp("recipe") / "a 文件夹"
    folder.mkdir()
    (folder / "slurm.conf").write_text(SLURM_CONF)
    options = {"conf": "smoke", "launcher": "slurm", "slurm-conf": folder / "slurm.conf", "nj": 2}
    options |= {"shard-parts": 2, "decode-parts": 2, "data-dir": folder / "data", "exp-dir": folder / "exp"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = cluster.run("bash", repo_root / "egs/osum/run.sh", *words)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, done.stdout


def test_every_stage_is_a_job_and_the_last_one_scores(recipe):
    folder, printed = recipe
    assert re.findall(r"stage \d (\w+) is queued as job \d+", printed) == list(STAGES)
    assert re.findall(r"stage \d (\w+) ended", printed) == list(STAGES)
    logs = sorted(path.name for path in (folder / "exp/log").glob("*.log"))
    elements = {f"{name}.{number}" for name in ARRAYS for number in (1, 2)}
    assert logs == sorted(f"{name}.log" for name in {*STAGES} - ARRAYS | elements)
    assert all("restart=0" in (folder / "exp/log" / name).read_text() for name in logs)
    assert sorted(path.stem for path in (folder / "exp/log").glob("*.sbatch")) == sorted(STAGES)
    scores = json.loads((folder / "exp/scores.json").read_text())
    assert len(scores["test"]) == 8


def test_training_ran_on_two_nodes(recipe, cluster):
    log = (recipe[0] / "exp/log/train_whisper.log").read_text()
    (nodes,) = re.findall(r"nodes=(\S+)", log)
    assert len(cluster.run("scontrol", "show", "hostnames", nodes).stdout.split()) == 2
