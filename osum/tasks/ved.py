"""Vocal event detection."""

from __future__ import annotations

from osum.tasks.tag_task import Field, TagTask

LABELS = ("laugh", "cough", "cry", "screaming", "sigh", "throat clearing", "sneeze", "other")
TASK = TagTask("ved", [Field("event", LABELS, {"zh": "声音事件", "en": "vocal event"}, any_speed=True)])
