"""The original's prompt file: task tags such as `<TRANSCRIBE> <EMOTION>`, each with its sentences."""

from __future__ import annotations

import re
from pathlib import Path

from osum import tasks
from osum.model.convert.settings import Settings
from osum.text.normalize import HAN

TRANSCRIBE = "TRANSCRIBE"
TASKS = {
    "ALIGN": "srwt",
    "CAPTION": "ved",
    "EMOTION": "ser",
    "STYLE": "ssr",
    "GENDER": "sgc",
    "AGE": "sap",
    "S2TCHAT": "sttc",
}
"""What follows `<TRANSCRIBE>`, which alone is `asr`."""

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
    parts = re.findall(r"<(\w+)>", tag)
    unknown = [part for part in parts if part != TRANSCRIBE and part not in TASKS]
    if unknown or not parts:
        known = ", ".join(f"<{part}>" for part in (TRANSCRIBE, *TASKS))
        raise ValueError(
            f"{path}: the tag {tag!r} is not made of {known}; remove its sentences from a copy of the file"
        )
    joined = "+".join(TASKS[part] for part in parts if part != TRANSCRIBE)
    name = (joined or "asr") if TRANSCRIBE in parts else f"{tasks.TAG_ONLY}{joined}"
    try:
        tasks.get(name)
    except ValueError as err:
        raise ValueError(f"{path}: {tag}: {err}") from err
    return name
