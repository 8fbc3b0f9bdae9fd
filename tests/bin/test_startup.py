"""Commands start fast: packages that take seconds to import are imported by those that have something to do."""

import pkgutil
import subprocess
import sys

import pytest

import osum.bin

COMMANDS = [module.name for module in pkgutil.iter_modules(osum.bin.__path__)]
HELP = """
import runpy, sys
heavy = ("torch", "transformers", "lhotse", "matplotlib", "scipy")
try:
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
    print("imported", [name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_and_reads_its_options_without_heavy_packages(command, repo_root):
    words = [sys.executable, "-c", HELP, f"osum.bin.{command}", "--help"]
    done = subprocess.run(words, cwd=repo_root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
    assert done.stdout.splitlines()[-1] == "imported []"
