"""Speaker age prediction."""

from __future__ import annotations

from osum.tasks.tag_task import Field, TagTask

LABELS = ("child", "adult", "old")
TASK = TagTask("sap", [Field("age", LABELS, {"zh": "年龄", "en": "age"})])
