"""Tags in targets: `<happy>`, `<female>`, `<开始回答>`."""

from __future__ import annotations

from osum.text.normalize import TAG, clean


def render(value: str) -> str:
    """Return the tag of a label. ValueError if the label itself holds an angle bracket."""
    if "<" in value or ">" in value:
        raise ValueError(f"label {value!r} holds an angle bracket, which delimits tags; rename it")
    return f"<{value}>"


def parse(text: str) -> tuple[str, list[str]]:
    """Split model output into what stands outside tags and the tags' contents, in order; never raises."""
    return remove(text), [clean(tag[1:-1]) for tag in TAG.findall(text)]


def remove(text: str) -> str:
    """Return text without its tags; a tag between two words counts as a space."""
    return clean(TAG.sub(" ", text))
