"""Prompts: a file of sentences per task and language; combined tasks are composed from their topics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from osum.tasks.base import Task
from osum.tasks.tag_task import TagTask

LANGUAGES = ("zh", "en")
OWN_DIR = Path(__file__).parent / "prompts"
TOPICS = "{topics}"
JOINT = {"zh": ("、", "和"), "en": (", ", " and ")}
"""Between the topics of a combined task, and before the last."""


def prompts_of(task: Task, prompts_dir: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return the prompts of a task by language.

    They stand in `<task name>.yaml`, with `only.yaml` (tag-only) and `combined.yaml` for tasks that have no file
    of their own: there `{topics}` becomes, for example, "age and gender". ValueError names file and remedy.
    """
    folder = OWN_DIR if prompts_dir is None else Path(prompts_dir)
    own_file = folder / f"{task.name.replace(':', '.')}.yaml"
    if own_file.is_file() or not isinstance(task, TagTask):
        return read_prompts(own_file)
    general = "combined" if task.transcript else "only"
    templates = read_prompts(folder / f"{general}.yaml")
    topics = {lang: _join([field.topic[lang] for field in task.fields], lang) for lang in LANGUAGES}
    return {lang: tuple(s.replace(TOPICS, topics[lang]) for s in templates[lang]) for lang in LANGUAGES}


def read_prompts(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `{zh: [...], en: [...]}`. ValueError unless both languages hold sentences that differ."""
    if not path.is_file():
        raise ValueError(f"{path}: no prompts; write {{zh: [...], en: [...]}} there")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise ValueError(f"{path}: not YAML: {err}") from err
    if not isinstance(content, Mapping) or set(content) != set(LANGUAGES):
        raise ValueError(f"{path}: expected the two keys zh and en, found {content!r:.80}")
    for language, sentences in content.items():
        are_texts = isinstance(sentences, list) and all(isinstance(s, str) and s.strip() for s in sentences)
        if not are_texts or not sentences:
            raise ValueError(f"{path}: {language} must be a list of sentences, none of them empty")
        if len(set(sentences)) < len(sentences):
            raise ValueError(f"{path}: {language} holds the same sentence twice")
    return {language: tuple(content[language]) for language in LANGUAGES}


def _join(topics: list[str], language: str) -> str:
    between, before_last = JOINT[language]
    return before_last.join([between.join(topics[:-1]), topics[-1]] if len(topics) > 1 else topics)
