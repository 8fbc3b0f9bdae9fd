"""What the model in training writes at validations: the same utterances each time, without a trace in the training."""

import json

import pytest
import torch

from osum.audio.io import to_float
from osum.eval.configs import DecodingConfig
from osum.eval.speech_model import SpeechModel
from osum.model.generate import generate
from osum.train import examples
from osum.train.configs import TrainConfig
from osum.train.meters import MEASURED

SEEN = {"num_valid_examples": 2, "valid_every": 2}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def metrics(folder):
    return [{k: v for k, v in line.items() if k not in MEASURED} for line in lines(folder / "metrics.jsonl")]


def stop_after(trainer, steps):
    whole = trainer.loader.steps

    def some(start, known):
        for step in whole(start, known):
            if step.step == steps:
                raise KeyboardInterrupt
            yield step

    trainer.loader.steps = some


def test_the_same_utterances_of_each_task_at_each_validation(make_trainer, bpe, sulm_record, tmp_path):
    trainer = make_trainer("run", **SEEN)
    trainer.run()
    rows = lines(tmp_path / "run" / "examples.jsonl")
    keys = [(row["step"], row["task"], row["key"]) for row in rows]
    assert keys == [
        (step, task, key) for step in (2, 4, 6) for task in ("asr", "sgc") for key in ("dev-00", "dev-01")
    ]  # fmt: skip
    spoken = ["hello there", "good morning"]
    assert [row["reference"] for row in rows[:4]] == [*spoken, f"{spoken[0]}<male>", f"{spoken[1]}<female>"]
    assert len({row["hypothesis"] for row in rows}) > 1
    last = trainer.examples._chosen.examples
    loaded = SpeechModel(trainer.model, bpe, sulm_record.prompts)
    for row, example in zip(rows[-4:], last, strict=True):
        limit = len(bpe.encode(example.target)) + examples.SPARE_TOKENS
        cfg = DecodingConfig(max_new_tokens=limit)
        assert loaded.decode(to_float(example.audio), task=row["task"], language=example.language, cfg=cfg) == [
            row["hypothesis"]
        ]


def test_it_changes_nothing_of_the_training_and_resumes_exactly(make_trainer, tmp_path):
    make_trainer("without", valid_every=2).run()
    make_trainer("whole", **SEEN).run()
    assert not (tmp_path / "without" / "examples.jsonl").exists()
    assert metrics(tmp_path / "without") == metrics(tmp_path / "whole")
    killed = make_trainer("killed", **SEEN)
    stop_after(killed, 5)  # after the validation of step 4, back to the checkpoint of step 3
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert lines(tmp_path / "killed" / "examples.jsonl")[-1]["step"] == 4
    resumed = make_trainer("killed", **SEEN)
    assert lines(tmp_path / "killed" / "examples.jsonl")[-1]["step"] == 2
    resumed.run()
    assert lines(tmp_path / "killed" / "examples.jsonl") == lines(tmp_path / "whole" / "examples.jsonl")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")


def test_texts_are_bounded_and_said_to_be_cut(make_trainer, tmp_path, monkeypatch):
    seen = []

    def counting(model, prefixes, limits, rules):
        seen.append((torch.get_rng_state(), limits))
        return generate(model, prefixes, limits, rules)

    monkeypatch.setattr(examples, "generate", counting)
    monkeypatch.setattr(examples, "BATCH_SIZE", 3)
    monkeypatch.setattr(examples, "MAX_TOKENS", 7)
    trainer = make_trainer("run", **SEEN)
    trainer.examples._chosen.template.eos_id = -1  # which it never writes
    trainer.examples.write(trainer.model, 1)
    assert [limits for _, limits in seen] == [[7, 7, 7], [7]] and torch.equal(seen[0][0], torch.get_rng_state())
    assert all(row["truncated"] for row in lines(tmp_path / "run" / "examples.jsonl"))


def test_compiled_layers_write_uncompiled(make_trainer):
    trainer = make_trainer("run", **SEEN)
    trainer.cfg.compute.compile = ["llm"]

    def compiled(*_):
        raise AssertionError

    layer = trainer.model.llm.model.layers[0]
    layer.forward = torch.compile(layer.forward, backend=lambda *_: compiled)
    trainer.examples.write(trainer.model, 1)


def test_a_count_is_not_negative():
    with pytest.raises(ValueError, match=r"train.num_valid_examples is -1; it must not be negative"):
        TrainConfig(num_valid_examples=-1)
