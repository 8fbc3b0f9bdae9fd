"""Cuts of tones, as the annotate stage writes them, for the shard stage."""

import numpy as np
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem


def make_cut(folder, name, rate_hz=16_000, channels=1, seconds=1.0, subtype="PCM_16"):
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    path = folder / f"{name.replace('/', '_')}.wav"
    soundfile.write(path, np.stack([0.5 * np.sin(2 * np.pi * 440 * time)] * channels, axis=1), rate_hz, subtype=subtype)
    recording = Recording.from_file(path, recording_id=name)
    supervision = SupervisionSegment(
        id=name, recording_id=name, start=0.0, duration=recording.duration, channel=0, text="你好 world", language="zh",
        speaker="s1", gender="female", custom={"emotion": "happy"},
        alignment={"word": [AlignmentItem("你", 0.1, 0.2), AlignmentItem("好", 0.3, 0.2)]},
    )  # fmt: skip
    return MonoCut(
        id=name, start=0.0, duration=recording.duration, channel=0, supervisions=[supervision], recording=recording,
        custom={"corpus": "toy", "tasks": ["asr", "ser"]},
    )  # fmt: skip


def contents(folder):
    """Every file below a folder, by its path there."""
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
