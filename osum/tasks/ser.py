"""Speech emotion recognition."""

from __future__ import annotations

from osum.tasks.tag_task import Field, TagTask

LABELS = ("sad", "anger", "neutral", "happy", "surprise", "fear", "disgust", "other")
TASK = TagTask("ser", [Field("emotion", LABELS, {"zh": "情感", "en": "emotion"})])
