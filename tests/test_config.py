"""Typed configs: defaults, YAML, overrides, and one line for whatever is wrong."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from osum import config


@dataclass
class Optim:
    """Optimiser."""

    lr: float = 1e-3
    """Peak learning rate."""


@dataclass
class Lora:
    """What may be absent."""

    rank: int = 8

    def __post_init__(self):
        if self.rank < 1:
            raise ValueError(f"lora.rank is {self.rank}; it must be at least 1")


@dataclass
class Config:
    """A stage."""

    out_dir: Path
    """Where it goes."""
    optim: Optim = field(default_factory=Optim)
    tasks: tuple[str, ...] = ("asr",)
    lora: Lora | None = None
    max_steps: int | None = None
    """Steps; > 0."""

    def __post_init__(self):
        if self.max_steps is not None and self.max_steps <= 0:
            raise ValueError(f"max_steps is {self.max_steps}; it must be > 0")


@pytest.fixture
def yaml_file(tmp_path):
    path = tmp_path / "stage.yaml"
    path.write_text("out_dir: from_yaml\noptim:\n  lr: 0.01\ntasks: [ser, sap+sgc]\n")
    return path


def test_a_yaml_fills_nested_fields_and_later_flags_win(yaml_file):
    argv = ["--config", str(yaml_file), "--optim.lr", "1e-4", "--max_steps", "2"]
    assert config.load(Config, argv) == Config(Path("from_yaml"), Optim(1e-4), ("ser", "sap+sgc"), None, 2)


def test_saved_configs_read_back_equal(tmp_path):
    made = Config(Path("a b"), Optim(3e-5), ("日常", "asr"), Lora(4), None)
    config.save(made, tmp_path / "config.yaml")
    assert config.read(Config, tmp_path / "config.yaml") == made
    assert config.to_dict(made) == {
        "out_dir": "a b",
        "optim": {"lr": 3e-5},
        "tasks": ["日常", "asr"],
        "lora": {"rank": 4},
        "max_steps": None,
    }


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--out_dir", "x", "--optim.lrr", "1"], ["--optim.lrr"]),
        (["--out_dir", "x", "--optim.lr", "fast"], ["optim.lr", "float", "fast"]),
        (["--out_dir", "x", "--max_steps", "-1"], ["max_steps is -1; it must be > 0"]),
        (
            ["--out_dir", "x", "--lora.rank", "many"],
            ['error: Parser key "lora": Parser key "rank": ', "int", "many; --help"],
        ),
        (["--out_dir", "x", "--lora.rnk", "4"], ["error: Parser key \"lora\": Option 'rnk' is not accepted; --help"]),
        (["--out_dir", "x", "--lora.rank", "0"], ["error: lora.rank is 0; it must be at least 1; --help"]),
        ([], ["required", "out_dir"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_a_wrong_command_line_ends_with_one_line_that_names_it(argv, words, capsys):
    with pytest.raises(SystemExit) as caught:
        config.load(Config, argv)
    message = capsys.readouterr().err
    assert caught.value.code == 2
    assert message.count("\n") == 1
    assert all(word in message for word in words)


@pytest.mark.parametrize("content", ["out_dir: [", "out_dir: x\nlearning_rate: 3\n", "out_dir: x\noptim: {lr: fast}\n"])
def test_a_wrong_yaml_is_named(content, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(SystemExit):
        config.load(Config, ["--config", str(path)])
    assert str(path) in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"bad\.yaml"):
        config.read(Config, path)


def test_reading_the_config_of_a_stage_that_has_not_run_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="was the stage that writes it run"):
        config.read(Config, tmp_path / "config.yaml")


def test_help_shows_the_sentence_under_each_field(capsys):
    with pytest.raises(SystemExit):
        config.load(Config, ["--help"])
    assert "Peak learning rate." in capsys.readouterr().out
