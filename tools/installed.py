"""Ends with status 0 if osum and every package it requires are installed beside this interpreter, else with 1.

Run it isolated, so that a checkout in the working folder does not count: ``python -I tools/installed.py``.
Looking at the metadata takes 0.1 s, where importing the packages would take seconds.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version


def missing(package: str) -> list[str]:
    """Return the requirements of a package (not of its extras) that are not installed, or the package itself."""
    try:
        wanted = [line for line in requires(package) or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return [package]
    absent = []
    for line in wanted:
        name = re.match(r"[\w.-]+", line)[0]
        try:
            version(name)
        except PackageNotFoundError:
            absent.append(name)
    return absent


if __name__ == "__main__":
    sys.exit(1 if missing("osum") else 0)
