import json

import numpy as np
import pytest
import soundfile
from labelled.config import LabelledConfig
from labelled.manifests import write_manifests
from lhotse import RecordingSet, SupervisionSet


def tone(path, seconds=1.0, rate_hz=16000, channels=1, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = 0.1 * np.sin(np.arange(int(seconds * rate_hz)) / 10)
    gains = np.arange(1, channels + 1)
    soundfile.write(path, audio[:, None] * gains, rate_hz, subtype=subtype)


def json_list(folder, rows, name="list.jsonl"):
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def run(tmp_path, lists, **options):
    out_dir = tmp_path / "manifests" / "corpus"
    out_dir.mkdir(parents=True, exist_ok=True)
    write_manifests(LabelledConfig(lists, out_dir, **options), out_dir)
    recordings = {r.id: r for r in RecordingSet.from_file(out_dir / "recordings.jsonl.gz")}
    supervisions = {s.id: s for s in SupervisionSet.from_file(out_dir / "supervisions.jsonl.gz")}
    return recordings, supervisions, json.loads((out_dir / "drops.json").read_text())


def test_a_full_row(tmp_path):
    tone(tmp_path / "a.wav", seconds=2.0, rate_hz=8000)
    row = {
        "key": "k/1", "path": "a.wav", "text": "Hello you", "speaker": "s", "gender": "f", "language": "en",
        "words": [["hello", 0.1, 0.5], ["you", 0.5, 0.9]], "age_group": "Adult", "age": 40, "emotion": "angry",
        "style": "read", "event": None, "answer": "yes", "split": "test", "licence": "CC0", "duration": 9.0,
    }  # fmt: skip
    recordings, supervisions, drops = run(tmp_path, [json_list(tmp_path, [row])])
    assert (recordings["k/1"].sampling_rate, recordings["k/1"].num_samples) == (8000, 16000)
    supervision = supervisions["k/1"]
    assert (supervision.text, supervision.speaker, supervision.gender, supervision.language) == (
        "Hello you",
        "s",
        "f",
        "en",
    )
    assert (supervision.recording_id, supervision.start, supervision.duration) == ("k/1", 0.0, 2.0)
    assert supervision.custom == {
        "emotion": "angry", "style": "read", "answer": "yes", "split": "test", "age": "Adult", "licence": "CC0",
    }  # fmt: skip
    assert [(w.symbol, w.start, w.duration) for w in supervision.alignment["word"]] == [
        ("hello", 0.1, 0.4),
        ("you", 0.5, 0.4),
    ]
    assert drops == {"read": 1, "used": 1, "dropped": {}}


def test_text_that_is_unknown_or_empty(tmp_path):
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav")
    tone(tmp_path / "c.wav")
    lists = [
        json_list(tmp_path, [{"path": "a.wav", "text": None}, {"path": "b.wav", "text": ""}]),
        tmp_path / "c.csv",
    ]
    lists[1].write_text("path,text\nc.wav,\n")
    _, supervisions, _ = run(tmp_path, lists, language="zh")
    assert {key: s.text for key, s in supervisions.items()} == {"a": None, "b": "", "c": None}
    assert {s.language for s in supervisions.values()} == {"zh"}


@pytest.mark.parametrize(
    ("years", "label"), [(13, "child"), ("14", None), (18, "adult"), (59.5, "adult"), ("60", "old")]
)
def test_age_in_years(tmp_path, years, label):
    tone(tmp_path / "a.wav")
    _, supervisions, _ = run(tmp_path, [json_list(tmp_path, [{"path": "a.wav", "age": years}])])
    assert supervisions["a"].custom.get("age") == label


def test_a_part_of_a_file(tmp_path):
    tone(tmp_path / "long.wav", seconds=3.0)
    rows = [
        {"wav": "long.wav", "txt": "one", "start": 0.5, "end": 1.25},
        {"wav": "long.wav", "txt": "two", "start": 1.5},
    ]
    _, supervisions, _ = run(tmp_path, [json_list(tmp_path, rows)])
    parts = {key: (s.text, s.start, s.duration) for key, s in supervisions.items()}
    assert parts == {"long-0.5": ("one", 0.5, 0.75), "long-1.5": ("two", 1.5, 1.5)}


def test_renamed_columns(tmp_path):
    tone(tmp_path / "deep" / "a.wav")
    rows = [{"file": "deep/a.wav", "sentence": "hi", "text": "not this"}]
    fields = {"path": "file", "text": "sentence"}
    lists = [json_list(tmp_path / "deep", rows)]
    _, supervisions, _ = run(tmp_path, lists, fields=fields, audio_root=tmp_path)
    assert supervisions["deep/a"].text == "hi"
    assert supervisions["deep/a"].custom == {"text": "not this"}


def test_unknown_field_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown field 'txet'"):
        LabelledConfig([tmp_path / "a"], tmp_path, fields={"txet": "x"})


def test_channels_are_mixed_or_the_first_is_taken(tmp_path):
    tone(tmp_path / "a.wav", channels=8, subtype="PCM_24")
    lists = [json_list(tmp_path, [{"path": "a.wav"}])]
    recordings, supervisions, _ = run(tmp_path, lists)
    mixed = recordings["a"].load_audio()
    assert mixed.shape == (1, 16000)
    assert np.abs(mixed).max() == pytest.approx(0.45, abs=1e-3)
    recordings, supervisions, _ = run(tmp_path, lists, channels="first")
    assert recordings["a"].num_channels == 8
    assert supervisions["a"].channel == 0


def bad_rows(folder):
    tone(folder / "good.wav")
    tone(folder / "empty.wav", seconds=0)
    (folder / "junk.wav").write_bytes(b"no audio at all")
    good = {"path": "good.wav"}
    return {
        "not JSON in UTF-8": '{"path": ',
        "not a JSON object": "3",
        "no path": {"text": "x"},
        "key is not usable as a file name": {"path": "good.wav", "key": "../k"},
        "audio is missing": {"path": "nowhere.wav"},
        "audio is unreadable": {"path": "junk.wav"},
        "audio has zero length": {"path": "empty.wav"},
        "duplicate key": {**good, "key": "good"},
        "text is not a string": {**good, "key": "t", "text": 5},
        "gender is not a single value": {**good, "key": "g", "gender": ["f"]},
        "start is not a number": {**good, "key": "s", "start": "soon"},
        "start and end do not lie inside the audio": {**good, "key": "e", "end": 7.0},
        "words are not a list of [word, start, end]": {**good, "key": "w", "words": [["a", 1]]},
        "a word ends before it starts": {**good, "key": "o", "words": [["a", 0.5, 0.1]]},
    }


def test_every_bad_row_is_listed_by_reason(tmp_path):
    bad = bad_rows(tmp_path)
    path = json_list(tmp_path, [{"path": "good.wav"}, *bad.values()])
    recordings, _, drops = run(tmp_path, [path], max_defect_rate=0.95)
    assert set(recordings) == {"good"}
    assert (drops["read"], drops["used"]) == (1 + len(bad), 1)
    for line, reason in enumerate(bad, start=2):
        assert drops["dropped"][reason]["ids"][0].startswith(f"{path}:{line}"), reason


def test_too_many_bad_rows_stop_the_import(tmp_path):
    path = json_list(tmp_path, [{"path": "good.wav"}, *bad_rows(tmp_path).values()])
    with pytest.raises(ValueError, match=r"14 of 15 utterances are defective .*list\.jsonl:6.*max_defect_rate"):
        run(tmp_path, [path])
