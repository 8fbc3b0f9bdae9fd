"""Recordings of several channels as one channel."""

from pathlib import Path

import flac
import numpy as np
import soundfile
from lhotse import Recording

from labelled.lists import BadRow


def mix_down(recording: Recording, audio_dir: Path, final_dir: Path) -> Recording:
    """Write the mean of the channels to a FLAC file in `audio_dir` and return it as a recording below `final_dir`.

    A recording of one channel comes back as it is. BadRow if the audio can't be decoded.
    """
    if len(recording.channel_ids) == 1:
        return recording
    try:
        audio, rate_hz = soundfile.read(recording.sources[0].source, dtype="float32")
    except soundfile.LibsndfileError:
        raise BadRow("audio is unreadable") from None
    if not np.isfinite(audio).all():
        raise BadRow("audio holds samples that are no numbers")
    name = f"{recording.id}.flac"
    (audio_dir / name).parent.mkdir(parents=True, exist_ok=True)
    flac.write(audio_dir / name, audio.mean(axis=1), rate_hz, subtype="PCM_24")
    mixed = Recording.from_file(audio_dir / name, recording_id=recording.id)
    mixed.sources[0].source = str(final_dir / name)
    return mixed
