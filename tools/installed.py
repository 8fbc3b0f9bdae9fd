"""Ends with status 0 if osum and all that setup.py requires are installed beside this interpreter, else with 1.

Run it isolated, so that a checkout in the working folder does not count: ``python -I tools/installed.py``.
Looking at the metadata takes 0.1 s, where importing the packages would take seconds.
"""

import ast
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.py"


def requirements() -> list[str]:
    """Return the names of the packages that setup.py requires.

    What the installed osum says of itself is as old as the installation, and the checkout may have been updated since.
    """
    lists = [
        node.value
        for node in ast.parse(SETUP.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["REQUIRES"]
    ]
    return [re.match(r"[\w.-]+", line)[0] for line in ast.literal_eval(lists[0])]


def is_installed(package: str) -> bool:
    """Tell whether there is metadata of a package."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(0 if all(map(is_installed, ["osum", *requirements()])) else 1)
