"""Speaker gender classification."""

from __future__ import annotations

from osum.tasks.tag_task import Field, TagTask

LABELS = ("female", "male")
TASK = TagTask("sgc", [Field("gender", LABELS, {"zh": "性别", "en": "gender"})])
