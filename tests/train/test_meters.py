import json
import time

import pytest
import torch

from osum.model.losses import Loss
from osum.train.meters import Meter, MetricsFile, joined
from osum.types import Batch


def batch(tasks, seconds, ctc_lens):
    empty = torch.zeros(0)
    lens = torch.tensor([16_000 * seconds] * len(tasks))
    return Batch(
        ["k"] * len(tasks),
        tasks,
        empty,
        lens,
        empty,
        empty,
        empty,
        empty,
        ctc_labels=empty,
        ctc_lens=torch.tensor(ctc_lens),
    )


def loss(nll, tokens, correct, ctc):
    tensor = torch.tensor
    return Loss(tensor(nll), tensor(tokens), tensor(ctc), tensor(correct), weighted_nll=tensor(nll).sum())


def test_means_are_over_tokens_and_not_over_batches():
    meter = Meter(("asr", "ser", "sgc"))
    meter.add(batch(["asr", "ser"], 1, [2, 0]), loss([6.0, 1.0], [3.0, 1.0], [3.0, 0.0], ctc=4.0))
    meter.add(batch(["asr"], 2, [2]), loss([1.0], [4.0], [1.0], ctc=8.0))
    values = meter.read()
    assert values.pop("audio_s_per_s") > 0
    assert values == {
        "loss": 1.0, "token_accuracy": 0.5, "tokens": 8.0, "ctc": 3.0, "loss.asr": 1.0, "loss.ser": 1.0,
    }  # fmt: skip
    meter.reset()
    assert meter.read()["tokens"] == 0


def test_the_share_of_time_that_data_took():
    meter = Meter(("asr",))

    def slow():
        for n in range(3):
            time.sleep(0.02)
            yield n

    for n in meter.waiting(slow()):
        time.sleep(0.02 if n else 0.06)
    speed = meter.read_speed(num_tokens=1000)
    assert 0.1 < speed["data_wait"] < 0.9 and speed["memory_gb"] > 0.05
    assert 0 < speed["tokens_per_s"] < 1000 / 0.16
    meter.reset()
    assert meter.read_speed(0)["data_wait"] == 0.0


def test_the_share_of_the_peak_is_reported_where_it_is_known():
    meter = Meter(("asr",), flop_of=lambda batch: 3e6 * len(batch.keys), peak_flop_per_s=1e9)
    for _ in range(2):
        meter.add(batch(["asr", "asr"], 1, [1, 1]), loss([1.0, 1.0], [1.0, 1.0], [0.0, 0.0], ctc=0.0))
    meter._since_s -= 0.03  # so long ago, and a little
    assert 0.1 < meter.read_speed(4)["mfu"] < 12e6 / 0.03 / 1e9
    meter.reset()
    assert meter.read_speed(0)["mfu"] == 0.0
    assert "mfu" not in Meter(("asr",)).read_speed(0)


def test_lines_after_the_step_that_a_run_resumes_from_are_taken_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"st')
    MetricsFile(path, start_step=4).write(step=6, loss=1.0)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 2}, {"step": 4}, {"step": 6, "loss": 1.0},
    ]  # fmt: skip


@pytest.mark.parametrize("start_step", [0, 3])
def test_a_new_file_starts_empty(tmp_path, start_step):
    MetricsFile(tmp_path / "metrics.jsonl", start_step)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_log_line_is_pairs():
    assert joined({"loss": torch.tensor(0.25), "tokens": 12345.6}) == "loss=0.25 tokens=1.235e+04"
