import gzip
import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, RecordingSet

from osum.data.load.audio_lists import AudioFile, read_list
from osum.data.store.clips import Clip

FILE = '[{"type": "file", "channels": [0], "source": "a.wav"}]'


@pytest.fixture
def stereo(tmp_path):
    """Two seconds at 8 kHz: left counts up, right down."""
    ramp = np.linspace(0, 0.5, 16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([ramp, 0.5 - ramp], axis=1), 8_000, subtype="FLOAT")
    return tmp_path / "a.wav"


def test_paths_one_a_line_plain_or_gzipped_or_as_json(stereo, tmp_path):
    (tmp_path / "plain.txt").write_text(f"{stereo}\n\na.wav\n")
    with gzip.open(tmp_path / "json.jsonl.gz", "wt") as f:
        f.write(json.dumps({"path": str(stereo)}) + "\n" + json.dumps({"path": "a.wav"}) + "\n")
    expected = [AudioFile(str(stereo), Clip(channel=0))] * 2
    assert read_list(tmp_path / "plain.txt", str(tmp_path)) == expected
    assert read_list(tmp_path / "json.jsonl.gz", str(tmp_path)) == expected


def test_recordings_and_cuts_of_lhotse(stereo, tmp_path):
    recording = Recording.from_file(stereo)
    RecordingSet.from_recordings([recording]).to_jsonl(tmp_path / "recordings.jsonl.gz")
    cut = MonoCut("b", 0.5, 1.0, 1, recording=recording)
    CutSet.from_cuts([recording.to_cut(), cut]).to_jsonl(tmp_path / "cuts.jsonl.gz")
    (whole,) = read_list(tmp_path / "recordings.jsonl.gz")
    both, part = read_list(tmp_path / "cuts.jsonl.gz")
    assert (whole.clip, both.clip, part.clip) == (Clip(channel=0), Clip(0.0, 2.0, 0), Clip(0.5, 1.0, 1))
    assert part.length() == (8_000, 8_000) and len(part.read()) == 16_000
    assert part.read()[8_000] == pytest.approx(cut.load_audio()[0, 4_000], abs=1e-3)


def test_a_part_is_counted_at_the_rate_of_the_file(stereo):
    file = AudioFile(str(stereo), Clip(0.5, 1.0, 0))
    audio = file.read(2_000, 4_000)
    assert len(audio) == 8_000 and audio[4_000] == pytest.approx(0.5 * 8_000 / 16_000, abs=1e-3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("missing.wav", "missing.wav: unreadable audio"),
        ("list.txt", "list.txt: unreadable audio"),
        ("s3://bucket/a.wav", r"list.txt:2: .*no local file"),
        ('{"wav": "a.wav"}', r"list.txt:2: .*without path"),
        ('{"path": ', "not a JSON object"),
        ('{"sources": [{"type": "command", "channels": [0], "source": "sox a.wav"}]}', "in no file"),
        ('{"sources": []}', "list.txt:2"),
        (
            '{"recording": {"sources": [{"type": "file", "channels": [1], "source": "a.wav"}]}, "start": 0}',
            "in no file",
        ),
        (f'{{"recording": {{"sources": {FILE}}}, "start": 1, "duration": 9}}', "ends 64000 samples before"),
    ],
)
def test_what_can_not_be_used_is_named_before_training(stereo, tmp_path, line, message):
    (tmp_path / "list.txt").write_text(f"a.wav\n{line}\n")
    with pytest.raises(ValueError, match=message) as found:
        read_list(tmp_path / "list.txt", str(tmp_path))
    assert "list.txt" in str(found.value)


def test_an_empty_list_is_refused(tmp_path):
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ValueError, match="empty: names no audio file"):
        read_list(tmp_path / "empty")
