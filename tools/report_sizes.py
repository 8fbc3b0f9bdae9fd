"""Lists modules and functions that may have grown beyond one idea: ``python tools/report_sizes.py osum local``."""

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path


def long_parts(path: Path, max_module: int, max_function: int) -> Iterator[str]:
    """Yield one line for the module if it is too long, and one for each of its functions that is."""
    source = path.read_text(encoding="utf-8")
    if (num_lines := source.count("\n")) > max_module:
        yield f"{path}: {num_lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            num_lines = node.end_lineno - node.lineno + 1
            if num_lines > max_function:
                yield f"{path}:{node.lineno}: {node.name} has {num_lines} lines"


def main() -> None:
    """Print the report; the exit status is 0 whatever it says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--max_module", type=int, default=300, help="lines of a module")
    parser.add_argument("--max_function", type=int, default=50, help="lines of a function")
    args = parser.parse_args()
    for path in sorted(p for folder in args.folders for p in folder.rglob("*.py")):
        for line in long_parts(path, args.max_module, args.max_function):
            print(line)


if __name__ == "__main__":
    main()
