"""Commands start fast: packages that take seconds to import are imported by those that have something to do."""

import pkgutil
import subprocess
import sys

import pytest

import osum.bin

HEAVY = {"torch", "transformers", "lhotse", "matplotlib"}
COMMANDS = [["-m", f"osum.bin.{module.name}"] for module in pkgutil.iter_modules(osum.bin.__path__)]


@pytest.mark.parametrize("command", [*COMMANDS, ["local/prepare_labelled.py"]], ids=lambda words: words[-1])
def test_a_command_reads_its_options_without_heavy_packages(command, repo_root):
    words = [sys.executable, "-X", "importtime", *command, "--help"]
    done = subprocess.run(words, cwd=repo_root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "jsonargparse" in imported
    assert imported & HEAVY == set()
