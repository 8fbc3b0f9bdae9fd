"""Speaking style recognition."""

from __future__ import annotations

from osum.tasks.tag_task import Field, TagTask

LABELS = ("新闻科普", "恐怖故事", "童话故事", "客服", "诗歌散文", "有声书", "日常口语", "其他")
TASK = TagTask("ssr", [Field("style", LABELS, {"zh": "风格", "en": "style"})])
