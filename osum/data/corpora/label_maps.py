"""Canonical labels: what the corpora call a thing, mapped to what the tasks call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from osum import tasks
from osum.tasks.tag_task import TagTask

DEFAULT = "default"
Aliases = Mapping[str, Mapping[str, str | None]]
"""Field -> raw label in lower case (a trailing `*` stands for any ending) -> canonical label, None for unknown."""


class UnknownLabelError(ValueError):
    """A label that neither is canonical nor has an alias."""


def label_sets() -> dict[str, tuple[str, ...]]:
    """Return the canonical labels by field, as the tasks define them."""
    fields = [field for task in tasks.discovered().values() if isinstance(task, TagTask) for field in task.fields]
    return {field.name: field.labels for field in fields}


@dataclass(frozen=True)
class LabelMap:
    """The labels of one corpus. Its own aliases come first, then those of all corpora."""

    path: Path
    """The file to edit when a label is unknown."""
    layers: tuple[Aliases, ...]
    legal: Mapping[str, tuple[str, ...]]

    @classmethod
    def load(cls, labels_dir: Path, corpus: str) -> LabelMap:
        """Read `<corpus>.yaml` and `default.yaml`, either of which may be absent. ValueError names file and entry."""
        if not labels_dir.is_dir():
            raise ValueError(f"{labels_dir}: no such folder; labels_dir holds the alias maps of the corpora")
        legal = label_sets()
        own = labels_dir / f"{corpus}.yaml"
        layers = tuple(_read(path, legal) for path in (own, labels_dir / f"{DEFAULT}.yaml") if path.is_file())
        return cls(own, layers, legal)

    def canonical(self, field: str, raw: str) -> str | None:
        """Return the canonical label, or None where the map says that it is unknown. UnknownLabelError otherwise."""
        label = " ".join(raw.lower().split())
        for aliases in self.layers:
            of_field = aliases.get(field, {})
            if label in of_field:
                return of_field[label]
            prefixes = [alias for alias in of_field if alias.endswith("*") and label.startswith(alias[:-1])]
            if prefixes:
                return of_field[max(prefixes, key=len)]
        if label in self.legal[field]:
            return label
        raise UnknownLabelError(f"unknown {field} label {raw!r} (add an alias to {self.path})")


def _read(path: Path, legal: Mapping[str, tuple[str, ...]]) -> Aliases:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise ValueError(f"{path}: not YAML: {err}") from err
    if not isinstance(content, dict) or not all(isinstance(aliases, dict) for aliases in content.values()):
        raise ValueError(f"{path}: expected 'field: {{raw: canonical}}'")
    unknown = sorted(set(content) - set(legal))
    if unknown:
        raise ValueError(f"{path}: unknown field {unknown[0]!r}; the fields are {', '.join(sorted(legal))}")
    for field, aliases in content.items():
        for raw, label in aliases.items():
            if label is not None and label not in legal[field]:
                raise ValueError(f"{path}: {field}: {raw!r} maps to {label!r}, which is not in {list(legal[field])}")
    return {field: {str(raw).lower(): label for raw, label in aliases.items()} for field, aliases in content.items()}
