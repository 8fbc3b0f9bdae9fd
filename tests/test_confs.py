"""Every YAML of every configuration loads into the config of its stage, with the options that run.sh adds."""

import importlib

import pytest

from osum import config

CONFS = ("mini", "mini_full", "smoke", "real", "pretrained", "osum")
STAGES = {
    "prepare": ("PrepareConfig", {"out_dir": "m", "raw_dir": "."}),
    "annotate": ("AnnotateConfig", {"manifests_dir": "m", "out_dir": "c"}),
    "shard": ("ShardConfig", {"cuts_dir": "c", "out_dir": "s", "num_procs": "2"}),
    "train_whisper": ("TrainWhisperConfig", {"shards_dir": "s", "tokenizer_dir": "t", "out_dir": "w"}),
    "train_sulm": ("TrainSulmConfig", {"shards_dir": "s", "tokenizer_dir": "t", "whisper_dir": "w", "out_dir": "o"}),
    "decode": ("DecodeConfig", {"shards_dir": "s", "model_dir": "o", "out_dir": "d"}),
    "score": ("ScoreConfig", {"exp_dir": "e"}),
}


@pytest.mark.parametrize(("conf", "stage"), [(c, s) for c in CONFS for s in STAGES])
def test_the_yaml_of_a_stage_loads(conf, stage, repo_root, monkeypatch, capsys):
    monkeypatch.chdir(repo_root / "egs/osum")
    class_name, options = STAGES[stage]
    config_class = getattr(importlib.import_module(f"osum.bin.{stage}"), class_name)
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    try:
        loaded = config.load(config_class, ["--config", f"conf/{conf}/{stage}.yaml", *flags])
    except SystemExit:
        pytest.fail(capsys.readouterr().err)
    assert {name: str(getattr(loaded, name)) for name in options} == options


def test_every_configuration_is_tested(repo_root):
    assert {p.name for p in (repo_root / "egs/osum/conf").iterdir() if p.is_dir()} == set(CONFS)
