"""The commands that the README shows, for the tests that run them."""

import re

import pytest


@pytest.fixture(scope="session")
def readme_commands(repo_root) -> tuple[str, ...]:
    """The lines of the README's fenced shell blocks, in order."""
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return tuple(line for block in blocks for line in block.splitlines() if line.strip())
