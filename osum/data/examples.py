"""From a row of the index to an Example: the one way, for training, evaluation and decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from osum.audio.speed import change_speed, sped_length
from osum.data.store.index import Index, MissingError
from osum.data.store.storage import StalledError
from osum.types import Example, Utterance

Prompts = Mapping[str, Mapping[str, Sequence[str]]]
"""Task -> language -> sentences."""
Augment = Callable[[np.ndarray], np.ndarray]
"""Audio (num_samples,) -> audio of the same length."""


class TargetTask(Protocol):
    """What the loader needs of a task."""

    any_speed: bool
    """Whether the target holds for audio that is played faster or slower."""
    timed: bool
    """Whether the target tells word times."""

    def target(self, utterance: Utterance) -> str | None:
        """Return what the model has to write, None where the utterance can't serve."""


class Item(NamedTuple):
    """One entry of a pack."""

    row: int
    task: str
    prompt: int
    """Which of the prompts of this task and language."""
    copy: int = 0
    """Which repetition of the row within the epoch."""
    speed: float = 1.0
    """Factor on the speed of the audio."""


@dataclass(frozen=True)
class Dropped:
    """An utterance that was planned and could not be used."""

    key: str
    task: str
    reason: str
    corpus: str = ""
    copy: int = 0
    """Which repetition of the utterance within the epoch."""

    @classmethod
    def item(cls, index: Index, item: Item, reason: str) -> Dropped:
        """Return the drop of an item of a pack."""
        return cls(index.key(item.row), item.task, reason, index.corpus(item.row), item.copy)


def prompts_for(prompts: Prompts, task: str, language: str) -> Sequence[str]:
    """Return the prompts of a task in a language, or in English, or in whatever there is. ValueError without any."""
    of_task = prompts.get(task, {})
    found = of_task.get(language) or of_task.get("en") or next((p for _, p in sorted(of_task.items()) if p), ())
    if not found:
        raise ValueError(f"task {task!r} has no prompts; add them to the prompts folder as {task}.yaml")
    return found


def make_example(
    index: Index,
    item: Item,
    tasks: Mapping[str, TargetTask],
    prompts: Prompts,
    augment: Augment | None = None,
) -> Example | Dropped:
    """Read and decode one item, and play it at its speed.

    A Dropped with its reason for what `why_unread` has a word for, or a missing target.
    OSError if a tar is missing or may not be read: that is no matter of one utterance.
    """
    try:
        utterance = index.utterance(item.row)
        audio = index.audio(item.row) if augment or item.speed != 1.0 else index.samples(item.row)
    except (ValueError, StalledError) as err:
        return Dropped.item(index, item, why_unread(err))
    if item.speed != 1.0:
        utterance, audio = at_speed(utterance, item.speed), change_speed(audio, item.speed)
    made = compose(utterance, augment(audio) if augment else audio, item.task, tasks, prompts, item.prompt)
    # Not the corpus of the utterance: its JSON may be damaged, and the plan counts by the index.
    return replace(made, corpus=index.corpus(item.row), copy=item.copy)


def why_unread(err: ValueError | StalledError) -> str:
    """Return the reason for dropping a row that could not be read: `corrupt`, `missing` or `stalled`, and details."""
    kind = "missing" if isinstance(err, MissingError) else "stalled" if isinstance(err, StalledError) else "corrupt"
    return f"{kind}: {err}"


def at_speed(utterance: Utterance, speed: float) -> Utterance:
    """Return what is known of an utterance once its audio is played at a speed: another length, other word times."""
    words = tuple((word, start_s / speed, end_s / speed) for word, start_s, end_s in utterance.words)
    return replace(utterance, num_samples=sped_length(utterance.num_samples, speed), words=words)


def compose(
    utterance: Utterance,
    audio: np.ndarray,
    task: str,
    tasks: Mapping[str, TargetTask],
    prompts: Prompts,
    prompt: int = 0,
) -> Example | Dropped:
    """Return an utterance in a task with a prompt of its language; Dropped if it has no target there."""
    target = tasks[task].target(utterance)
    if target is None:
        return Dropped(utterance.key, task, "no_target")
    return Example(
        key=utterance.key,
        task=task,
        language=utterance.language,
        prompt=prompts_for(prompts, task, utterance.language)[prompt],
        target=target,
        audio=audio,
        transcript=utterance.text,
    )
