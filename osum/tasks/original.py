"""The names of tasks in the original OSUM's data and prompt files: tags such as `<TRANSCRIBE> <EMOTION>`."""

from __future__ import annotations

import re

from osum import tasks

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


def task_name(tag: str) -> str:
    """Return our name of a task: `<TRANSCRIBE> <AGE> <GENDER>` is `sap+sgc`, `<AGE> <GENDER>` is `only:sap+sgc`.

    ValueError if we have no such task.
    """
    parts = re.findall(r"<(\w+)>", tag)
    unknown = [part for part in parts if part != TRANSCRIBE and part not in TASKS]
    if unknown or not parts:
        known = ", ".join(f"<{part}>" for part in (TRANSCRIBE, *TASKS))
        raise ValueError(f"the tag {tag!r} is not made of {known}")
    joined = "+".join(TASKS[part] for part in parts if part != TRANSCRIBE)
    name = (joined or "asr") if TRANSCRIBE in parts else f"{tasks.TAG_ONLY}{joined}"
    try:
        tasks.get(name)
    except ValueError as err:
        raise ValueError(f"{tag}: {err}") from err
    return name
