"""The original's prompt file: task tags such as `<TRANSCRIBE> <EMOTION>`, each with its sentences."""

from __future__ import annotations

import re
from pathlib import Path

from osum.model.convert.settings import Settings
from osum.tasks.original import task_name
from osum.text.normalize import HAN

Prompts = dict[str, dict[str, list[str]]]


def read_original_prompts(path: Path) -> Prompts:
    """Return task -> language -> sentences. ValueError naming file and tag.

    `<TRANSCRIBE> <AGE> <GENDER>` is our `sap+sgc`, `<AGE> <GENDER>` our `only:sap+sgc`.
    """
    found: Prompts = {}
    for tag, sentences in Settings.read(path).values.items():
        if not isinstance(sentences, list) or not sentences or not all(isinstance(s, str) and s for s in sentences):
            raise ValueError(f"{path}: {tag} must have a list of sentences")
        by_language = found.setdefault(_task(str(tag), path), {})
        for sentence in sentences:
            by_language.setdefault("zh" if re.search(f"[{HAN}]", sentence) else "en", []).append(sentence)
    return found


def _task(tag: str, path: Path) -> str:
    try:
        return task_name(tag)
    except ValueError as err:
        raise ValueError(f"{path}: {err}; remove its sentences from a copy of the file") from err
