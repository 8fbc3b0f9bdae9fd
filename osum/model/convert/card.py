"""The model card of an exported model: what it is, how to load it, and the licences of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

UNKNOWN = "unknown"
VERSIONS = "versions.json"
"""Where training notes what a model comes from."""


@dataclass
class Licences:
    """What was said about licences; what was not is `unknown`."""

    model: str = UNKNOWN
    """Licence of the exported model."""
    base_models: dict[str, str] = field(default_factory=dict)
    """Name -> licence of the models that it started from."""
    corpora: dict[str, str] = field(default_factory=dict)
    """Name -> licence of the corpora that it was trained on."""


def trained_on(model: Path) -> dict[str, str]:
    """Return corpus -> licence for a model folder, as training noted them; nothing for a converted one."""
    try:
        return dict(json.loads((model / VERSIONS).read_text(encoding="utf-8"))["corpora"])
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return {}
    except (ValueError, TypeError) as err:
        raise ValueError(f"{model / VERSIONS}: damaged ({err}); remove it, and name --corpora yourself") from err


def licence_of(folder: str) -> str:
    """Return the licence that the README.md of a local model folder names in its header; `unknown` without one."""
    try:
        _, header, _ = (Path(folder) / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        licence = yaml.safe_load(header)["license"]
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return UNKNOWN
    return licence if isinstance(licence, str) else UNKNOWN


def model_card(
    title: str,
    contents: Mapping[str, str],
    usage: str,
    parts: Mapping[str, str],
    said: Licences,
    corpora: Mapping[str, str],
) -> str:
    """Return the text of README.md.

    `contents`: file or folder -> what it holds; `usage`: Python that loads it; `parts`: part -> what it started from,
    whose licence is that of its own card; `corpora`: what training noted, corpus -> licence. What was said goes before.
    """
    base_models = {**{origin: licence_of(origin) for origin in parts.values()}, **said.base_models}
    header = yaml.safe_dump({"license": said.model, "library_name": "transformers"}, sort_keys=False)
    sections = [
        f"---\n{header}---\n\n# {title}",
        _table(("file", "holds"), contents),
        f"```python\n{usage}\n```",
        f"## Licences\n\nThis model: {said.model}.",
        _table(("part", "started from"), parts),
        _table(("base model", "licence"), base_models),
        _table(("corpus", "licence"), {**corpora, **said.corpora} or {UNKNOWN: UNKNOWN}),
    ]
    return "\n\n".join(sections) + "\n"


def _table(heads: tuple[str, str], rows: Mapping[str, str]) -> str:
    lines = [heads, ("---", "---"), *rows.items()]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
