"""A signal lets a run save and end; the run that goes on reports and leaves what one does that was never stopped."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import yaml

from osum.train import checkpoint, preemption
from tests.train.test_trainer import same

STEPS = {"max_steps": 9, "log_every": 4, "valid_every": 9, "save_every": 4, "keep_checkpoints": 2}


def stopped_in(trainer, number, step_number):
    """Let the trainer's own process get a signal in the middle of a step, the first being number 1."""
    forward = trainer._forward

    def forward_and_signal(batch, step, virtual_rank):
        if step.step == step_number - 1 and virtual_rank == 0:
            os.kill(os.getpid(), number)
        return forward(batch, step, virtual_rank)

    trainer._forward = forward_and_signal
    return trainer


def test_the_status_is_the_documented_one():
    assert preemption.SAVED_EXIT_STATUS == 85
    assert preemption.Preempted(7).code == 85


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_is_noted_and_the_handlers_of_before_come_back(number):
    before = signal.getsignal(number)
    with preemption.listening() as request:
        assert not request.received
        os.kill(os.getpid(), number)
        assert request.received and request.signal_name == number.name
    assert signal.getsignal(number) == before


def say_and_sleep(connection):
    connection.send("here")
    time.sleep(60)


def test_a_forked_worker_can_still_be_terminated():
    with preemption.listening() as request:
        ours, theirs = multiprocessing.Pipe()
        worker = multiprocessing.get_context("fork").Process(target=say_and_sleep, args=(theirs,))
        worker.start()
        assert ours.recv() == "here"  # Python drops the signals of a process that has just been forked
        worker.terminate()
        worker.join(30)
        assert worker.exitcode == 143
    assert not request.received


def test_a_stopped_run_saves_and_goes_on_as_if_nothing_had_been(make_trainer, tmp_path):
    make_trainer("whole", **STEPS).run()
    # All ranks agree on a request with the counts of the next step, which is then the last one.
    for step_number, number in ((2, signal.SIGUSR1), (4, signal.SIGTERM), (7, signal.SIGUSR1)):
        with pytest.raises(preemption.Preempted) as stopped:
            stopped_in(make_trainer("stopped", **STEPS), number, step_number).run()
        assert stopped.value.step == step_number + 1
        assert checkpoint.existing(tmp_path / "stopped/checkpoints")[-1].name == f"step-{step_number + 1:08d}"
    stopped_in(make_trainer("stopped", **STEPS), signal.SIGTERM, 9).run()
    assert same(tmp_path / "whole", tmp_path / "stopped")
    names = [[p.name for p in checkpoint.existing(tmp_path / run / "checkpoints")] for run in ("whole", "stopped")]
    assert names[0] == names[1] == ["step-00000008", "step-00000009"]


def test_all_ranks_stop_after_the_same_step(shards_dir, tokenizer_dir, repo_root, tmp_path):
    small = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 2, "ffn_dim": 32}
    data = {"tasks": ["asr", "sgc"], "plan": {"virtual_ranks": 2, "max_tokens": 300, "max_audio_s": 3.0}}
    train = {"max_steps": 100_000, "log_every": 1, "valid_every": 100_000, "save_every": 100_000}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model": small, "data": data, "train": train}))
    options = {"config": tmp_path / "c.yaml", "shards_dir": shards_dir, "tokenizer_dir": tokenizer_dir}
    options["out_dir"] = tmp_path / "out"
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    place = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(unused_port())}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "osum.bin.train_whisper", *words],
            env={**place, "RANK": str(n), "LOCAL_RANK": str(n)},
            cwd=repo_root,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    assert any("train step=2/" in line for line in ranks[0].stderr), "it ended before its second step"
    ranks[1].send_signal(signal.SIGUSR1)  # one rank's signal is enough
    ends = [rank.communicate(timeout=60)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [85, 85], ends
    (saved,) = checkpoint.existing(tmp_path / "out/checkpoints")
    assert f"preempted step={int(saved.name[5:])} signal=another rank: saved" in ends[0]
    assert not (tmp_path / "out/.done.json").exists()


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
