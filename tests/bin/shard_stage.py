"""For the shard stage: cuts of tones, as the annotate stage writes them, and runs that are killed or watched."""

import os
import signal

import numpy as np
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from osum.bin.shard import shard
from osum.data.corpora import sharding


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


def killed_at(number, config):
    """Run the stage in a process that is killed when the disk is about to change lastingly the n-th time.

    Return whether it came to that.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def counting(function):
            def called(*args, **options):
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **options)

            return called

        try:
            for name in ("fsync", "replace", "unlink", "mkdir"):
                setattr(os, name, counting(getattr(os, name)))
            shard(config)
        except BaseException:  # noqa: BLE001 - pytest must not go on in the child
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def written_by(config, monkeypatch):
    """Run the stage, and return the numbers of the tars that it wrote."""
    written, write = [], sharding.write_tar

    def note(path, cuts, audio_format):
        written.append(int(path.name.split(".")[0].removeprefix("shard_")))
        return write(path, cuts, audio_format)

    with monkeypatch.context() as context:
        context.setattr(sharding, "write_tar", note)
        shard(config)
    return written
