"""Settings of other projects: JSON or YAML files whose keys are required, so that nothing is guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class Settings:
    """A mapping read from a file; asking for what is not there is a ValueError that names file and key."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        """`source` is how errors call the place."""
        self.values, self.source = values, source

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read a JSON or YAML file. FileNotFoundError or ValueError naming it."""
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such config")
        try:
            text = path.read_text(encoding="utf-8")
            found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as err:
            raise ValueError(f"{path}: neither JSON nor YAML: {err}") from err
        if not isinstance(found, Mapping):
            raise ValueError(f"{path}: expected keys and values, found {type(found).__name__}")
        return cls(found, str(path))

    def section(self, key: str) -> Settings:
        """Return a part that has keys of its own."""
        found = self.values.get(key)
        if not isinstance(found, Mapping):
            raise ValueError(f"{self.source}: no section {key!r}; is it the config of this kind of checkpoint?")
        return Settings(found, f"{self.source}, {key}")

    def integer(self, key: str) -> int:
        """Return a whole number."""
        return self._typed(key, int)

    def number(self, key: str) -> float:
        """Return a number."""
        return float(self._typed(key, (int, float)))

    def text(self, key: str) -> str:
        """Return a string."""
        return self._typed(key, str)

    def require(self, key: str, *supported: Any) -> None:
        """Refuse any value of a key but these (None among them lets the key be absent)."""
        if self.values.get(key) not in supported:
            allowed = " or ".join(repr(value) for value in supported if value is not None)
            raise ValueError(f"{self.source}: {key} is {self.values.get(key)!r}; only {allowed} can be converted")

    def agree(self, other: Settings, *keys: str) -> None:
        """Refuse different values of these keys in two places."""
        for key in keys:
            if self.values.get(key) != other.values.get(key):
                raise ValueError(
                    f"{self.source}: {key} is {self.values.get(key)!r}, but {other.values.get(key)!r} in "
                    f"{other.source}; only equal ones can be converted"
                )

    def _typed(self, key: str, kind: type | tuple[type, ...]) -> Any:
        value = self.values.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{self.source}: {key} is {value!r}; give its value as in the original config")
        return value
