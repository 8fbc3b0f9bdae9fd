"""Training on two nodes that is asked to stop, or loses one: it goes on and ends as one that ran through."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.slurm.cluster import wait_until

STEPS = {"max_steps": 90, "log_every": 10, "valid_every": 90, "save_every": 30}
TRAINING = {
    "model": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 2, "ffn_dim": 32},
    "data": {"tasks": ["asr", "sgc"], "plan": {"virtual_ranks": 2, "max_tokens": 300, "max_audio_s": 3.0}},
    "train": {**STEPS, "optim": {"lr": 1e-3, "warmup_steps": 5}},
}
LEARNT = ("split", "step", "epoch", "loss", "loss.asr", "loss.sgc", "token_accuracy", "tokens", "lr", "grad_norm")
"""Metrics that tell of the model, not of the machine."""


@pytest.fixture(scope="module")
def train(repo_root, shards_dir, tokenizer_dir, tmp_path_factory):
    """`train(cluster, "name")` -> the number of a job that trains on two nodes in `train.folder / name`."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "c.yaml").write_text(yaml.safe_dump(TRAINING))
    (folder / "path.sh").write_text(f". {repo_root}/egs/osum/path.sh\n")

    def submit(cluster, name):
        options = {"config": "c.yaml", "shards_dir": shards_dir, "tokenizer_dir": tokenizer_dir, "out_dir": name}
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        command = ("python", "-m", "osum.bin.train_whisper", *words)
        cluster.run(repo_root / "utils/slurm.sh", "--nodes", "2", f"{name}.log", *command, cwd=folder, check=True)
        return (folder / f"{name}.job").read_text().strip()

    submit.folder = folder
    return submit


@pytest.fixture(scope="module")
def whole(cluster, train):
    """The metrics and weights of a run that nothing happened to."""
    assert cluster.wait(train(cluster, "whole"), 600)["JobState"] == "COMPLETED", log(train, "whole")
    return result(train.folder / "whole")


def log(train, name):
    path = train.folder / f"{name}.log"
    return path.read_text() if path.is_file() else ""


def result(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    metrics = [[line.get(name) for name in LEARNT] for line in lines]
    return metrics, load_file(folder / "model.safetensors")


def assert_same(found, whole):
    assert found[0] == whole[0]
    assert found[1].keys() == whole[1].keys()
    assert all(torch.equal(found[1][name], value) for name, value in whole[1].items())


def test_a_run_that_is_asked_to_stop_goes_on_to_the_bit(cluster, train, whole):
    job = train(cluster, "stopped")
    wait_until(lambda: "train step=20/" in log(train, "stopped"), "it did not begin", 300)
    cluster.run("scancel", "--signal=USR1", job)  # to the ranks only
    ended = cluster.wait(job, 600)
    text = log(train, "stopped")
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), text
    assert "signal=SIGUSR1: saved; the same command goes on from here" in text
    assert "queued again: status=85" in text and text.count("resume step=") == 1
    assert_same(result(train.folder / "stopped"), whole)


def test_a_run_that_loses_a_host_goes_on_elsewhere_from_its_last_checkpoint(hosts, train, whole):
    job = train(hosts, "lost")
    wait_until(lambda: "checkpoint step=30 " in log(train, "lost"), "it did not begin", 300)
    nodes = hosts.run("scontrol", "show", "hostnames", hosts.job(job)["NodeList"]).stdout.split()
    hosts.kill_node(nodes[1])
    try:
        ended = hosts.wait(job, 600)
        text = log(train, "lost")
        assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), text
        assert nodes[1] not in hosts.run("scontrol", "show", "hostnames", ended["NodeList"]).stdout.split()
        assert "resume step=" in text
        assert_same(result(train.folder / "lost"), whole)
    finally:
        hosts.revive(nodes[1])
