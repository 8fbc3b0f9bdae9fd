"""One utterance as people and as the model see it."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from osum.text.template import Template
from osum.types import Example

MAX_NAME = 120


def file_name(key: str) -> str:
    """Return a name for a file of an utterance: its key without what could leave a folder."""
    return re.sub(r"[^\w.-]|^\.", "_", key)[-MAX_NAME:]


def spell(example: Example, template: Template, token: Callable[[int], str]) -> str:
    """Return what the model is fed, then `=>` and what it has to write, token by token; speech is one bracket.

    `token` writes the token of an id.
    """
    prefix = template.prefix(example)
    place = int(np.argmax(prefix.speech_mask)) if prefix.speech_mask.any() else len(prefix.input_ids)
    given = [
        f"[speech x {int(prefix.speech_mask.sum())}]" if i == place else token(int(one))
        for i, one in enumerate(prefix.input_ids)
        if i == place or not prefix.speech_mask[i]
    ]
    wanted = [token(one) for one in [*template.target_ids(example.target), template.eos_id]]
    return f"{' '.join(given)} => {' '.join(wanted)}"
