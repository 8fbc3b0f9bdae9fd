"""Stage 0."""

import sys
from pathlib import Path

import pytest

from osum.bin import prepare
from osum.bin.prepare import PrepareConfig, Source, command

SCRIPT = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[2])
out.mkdir(parents=True)
(out / "argv.json").write_text(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def local_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "local"
    folder.mkdir()
    (folder / "prepare_a.py").write_text(SCRIPT)
    (folder / "other.py").write_text("raise SystemExit(3)")
    return folder


def config_of(local_dir: Path, **fields: object) -> PrepareConfig:
    sources = {"a": Source(args={"hours": 1.5, "name": "x y", "lists": ["q"]}), "b": Source(script="other.py")}
    return PrepareConfig(out_dir=Path("out"), sources=sources, local_dir=local_dir, **fields)


def test_command(local_dir: Path) -> None:
    words = [sys.executable, str(local_dir / "prepare_a.py"), "--out_dir", "out/a"]
    words += ["--hours", "1.5", "--name", "x y", "--lists", '["q"]']
    assert command(config_of(local_dir), "a") == words


def test_corpora_can_be_narrowed(local_dir: Path) -> None:
    assert config_of(local_dir).names == ["a", "b"]
    assert config_of(local_dir, corpora=["b"]).names == ["b"]
    with pytest.raises(ValueError, match="no source 'c'; the sources are a, b"):
        config_of(local_dir, corpora=["c"])


def test_raw_dir_is_filled_in_and_needed_only_where_it_is_named(local_dir: Path, tmp_path: Path) -> None:
    sources = {"a": Source(args={"lists": ["{raw_dir}/a.jsonl"]}), "b": Source()}
    cfg = PrepareConfig(Path("out"), sources, local_dir=local_dir, raw_dir=tmp_path)
    assert command(cfg, "a")[-1] == f'["{tmp_path}/a.jsonl"]'
    PrepareConfig(Path("out"), sources, corpora=["b"], local_dir=local_dir)
    with pytest.raises(ValueError, match="raw_dir None is no folder, and corpus 'a' is read from it"):
        PrepareConfig(Path("out"), sources, local_dir=local_dir)


def test_main_runs_scripts_and_names_the_one_that_fails(
    local_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml = tmp_path / "prepare.yaml"
    yaml.write_text(f"local_dir: {local_dir}\nsources:\n  a: {{args: {{hours: 2}}}}\n  b: {{script: other.py}}\n")
    monkeypatch.setattr(sys, "argv", ["prepare", "--config", str(yaml), "--out_dir", str(tmp_path / "out")])
    with pytest.raises(ValueError, match=r"corpus b: .*other.py failed with status 3"):
        prepare.main()
    assert "--hours" in (tmp_path / "out" / "a" / "argv.json").read_text()


def test_missing_scripts_are_named(local_dir: Path) -> None:
    cfg = PrepareConfig(Path("out"), {"new": Source()}, local_dir=local_dir)
    with pytest.raises(ValueError, match=r"prepare_new.py: no such script.*sources.new.script"):
        command(cfg, "new")
