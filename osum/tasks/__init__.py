"""The tasks. A new task is one module here that defines `TASK`, and one file of prompts."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from osum.tasks.base import Task
from osum.tasks.prompting import prompts_of
from osum.tasks.tag_task import TagTask

ORDER = ("asr", "srwt", "ved", "ser", "ssr", "sgc", "sap", "sttc")
"""The order of tables; tasks that are not named here follow by name."""

TAG_ONLY = "only:"
"""Prefix of tag tasks without transcript, as in `only:sap+sgc`."""


@cache
def discovered() -> Mapping[str, Task]:
    """Return every module's `TASK` by name, in the order of tables."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found = {module.TASK.name: module.TASK for module in modules if hasattr(module, "TASK")}
    rank = {name: n for n, name in enumerate(ORDER)}
    return {name: found[name] for name in sorted(found, key=lambda name: (rank.get(name, len(ORDER)), name))}


def names() -> tuple[str, ...]:
    """Return the names of all single tasks, in the order of tables."""
    return tuple(discovered())


def get(name: str) -> Task:
    """Return a task: single (`ser`), combined (`sap+sgc`) or tag-only (`only:ved`, `only:sap+sgc`).

    ValueError lists what exists.
    """
    parts = name.removeprefix(TAG_ONLY).split("+")
    unknown = [part for part in parts if part not in discovered()]
    if unknown:
        raise ValueError(f"unknown task {unknown[0]!r} in {name!r}; the tasks are {', '.join(names())}")
    tasks = [discovered()[part] for part in parts]
    if [name] == parts:
        return tasks[0]
    wrong = [task.name for task in tasks if not isinstance(task, TagTask)]
    if wrong or len(set(parts)) < len(parts):
        allowed = ", ".join(task.name for task in discovered().values() if isinstance(task, TagTask))
        raise ValueError(f"task {name!r}: only different ones of {allowed} can be combined or used without transcript")
    fields = [field for task in tasks for field in task.fields]
    return TagTask(name, fields, transcript=not name.startswith(TAG_ONLY))


def load_prompts(
    prompts_dir: Path | None = None, task_names: Sequence[str] | None = None
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return prompts by task and language, from osum's own files or from `prompts_dir`.

    `task_names` defaults to all single tasks. ValueError names the file that is missing or malformed.
    """
    return {name: prompts_of(get(name), prompts_dir) for name in (names() if task_names is None else task_names)}
