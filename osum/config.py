"""Typed configuration: one dataclass per stage, filled from YAML and dotted command-line overrides."""

from __future__ import annotations

import dataclasses
import re
import sys
from argparse import ArgumentError
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

T = TypeVar("T")
UNION = re.compile(
    r"Does not validate against any of the Union subtypes Subtypes: \[[^,\]]*, <class 'NoneType'>\] Errors: "
    r"- (?P<error>.*) - Expected a <class 'NoneType'>.*"
)
"""What jsonargparse says of options that may be null: the error, and that the value is not null."""
CLASS = re.compile(r"Problem with given class_path '[^']*': ")


def load(config_class: type[T], argv: list[str] | None = None, file_option: str = "--config") -> T:
    """Build a config dataclass from ``--config FILE.yaml`` and overrides such as ``--optim.lr 1e-4``.

    Later arguments win over earlier ones. A wrong name, type or value ends the program with one line
    that names it and the file (exit status 2). `file_option`: what ``--config`` is called where that is a field.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        return _parse(config_class, argv, file_option)
    except ValueError as err:
        files = "".join(f"{value}: " for name, value in pairwise(argv) if name == file_option)
        sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {files}{err}; --help lists the options\n")
        sys.exit(2)


def _parse(config_class: type[T], argv: list[str], file_option: str = "--config") -> T:
    _resolve_annotations(config_class)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # --help shows the sentence under each field
    parser = ArgumentParser(description=config_class.__doc__, exit_on_error=False)
    parser.add_argument(file_option, action="config", help="YAML file with the fields below; later flags override it")
    parser.add_class_arguments(config_class)
    try:
        parsed = parser.parse_args(argv)
        parsed.pop(file_option.lstrip("-"))
        return config_class(**vars(parser.instantiate_classes(parsed)))
    except (ArgumentError, ValueError) as err:
        message = " ".join(str(err).split())
        raise ValueError(CLASS.sub("", UNION.sub(r"\g<error>", message))) from err


def _resolve_annotations(hint: Any) -> None:
    """Make the field types of a dataclass, and of those in it, types instead of strings.

    jsonargparse would do so as well, but runs the `if TYPE_CHECKING:` imports of their modules for it: torch, seconds.
    """
    if not dataclasses.is_dataclass(hint):
        for part in get_args(hint):
            _resolve_annotations(part)
        return
    hints = get_type_hints(hint)
    hint.__init__.__annotations__.update(hints)
    for of_field in hints.values():
        _resolve_annotations(of_field)


def to_dict(config: Any) -> Any:
    """Return the plain YAML/JSON form of a config: dataclasses to dicts, paths to strings, tuples to lists."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Namespace):
        return to_dict(config.as_dict())
    if isinstance(config, dict):
        return {str(k): to_dict(v) for k, v in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_dict(v) for v in config]
    return str(config) if isinstance(config, Path) else config


def defaults(config: Any) -> dict[str, Any]:
    """Return the plain form of what the fields of a config are when nobody says; those without a default are absent.

    A plain config has none.
    """
    found: dict[str, Any] = {}
    for f in dataclasses.fields(config) if dataclasses.is_dataclass(config) else ():
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            found[f.name] = defaults(value)
        elif f.default is not dataclasses.MISSING:
            found[f.name] = to_dict(f.default)
        elif f.default_factory is not dataclasses.MISSING:
            found[f.name] = to_dict(f.default_factory())
    return found


def save(config: Any, path: Path) -> None:
    """Write the resolved config as YAML that ``load`` reads back."""
    path.write_text(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")


def read(config_class: type[T], path: Path) -> T:
    """Read a config that ``save`` wrote. FileNotFoundError or ValueError naming the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such config; was the stage that writes it run?")
    try:
        return _parse(config_class, ["--config", str(path)])
    except ValueError as err:
        raise ValueError(f"{path}: {err}") from err
