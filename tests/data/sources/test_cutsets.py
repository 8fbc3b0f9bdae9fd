import gzip
import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.shar import SharWriter
from lhotse.supervision import AlignmentItem

from tests.data.foreign import reasons, speech, write_list


@pytest.fixture
def cuts(tmp_path):
    """Three cuts of one stereo recording, the second on its right channel and with labels and word times."""
    path = tmp_path / "rec.wav"
    path.write_bytes(speech(64_000, channels=2))
    recording = Recording.from_file(path)

    def cut(name, start, channel=0, **fields):
        supervision = SupervisionSegment(f"sup-{name}", "rec", 0.0, 1.5, channel, **{"text": "hello there", **fields})
        return MonoCut(name, start, 1.5, channel, [supervision], recording=recording)

    words = {"word": [AlignmentItem("hello", 0.1, 0.4), AlignmentItem("there", 0.6, 0.3)]}
    labelled = {"gender": "F", "language": "en", "speaker": "s", "custom": {"emotion": "joy"}, "alignment": words}
    return [cut("a/1", 0.0), cut("b", 1.25, 1, **labelled), cut("c", 2.5, text=None, gender="m", custom={"age": "old"})]


def save(cuts, path):
    CutSet.from_cuts(cuts).to_jsonl(path)
    return path


def test_a_cut_set_is_read_as_lhotse_reads_it(cuts, index_of, tmp_path):
    index, drops = index_of("lhotse", save(cuts, tmp_path / "cuts.jsonl.gz"), language="de")
    assert drops.used == 3 and index.keys() == ["a/1", "b", "c"]
    for row, cut in enumerate(cuts):
        np.testing.assert_array_equal(index.audio(row), cut.load_audio()[0])
    first, second, third = (index.utterance(row) for row in range(3))
    assert (first.language, first.text, first.tasks) == ("de", "hello there", ("asr",))
    assert second.labels == {"gender": "female", "emotion": "happy"} and second.speaker == "s"
    assert second.words == (("hello", 0.1, pytest.approx(0.5)), ("there", 0.6, pytest.approx(0.9)))
    assert set(second.tasks) == {"asr", "srwt", "ser", "sgc"} and second.language == "en"
    assert (third.text, third.tasks) == (None, ("only:sap+sgc",))
    assert index.header.shards == [str(tmp_path / "rec.wav")]


def test_shar_is_read_as_lhotse_reads_it(cuts, index_of, tmp_path):
    (tmp_path / "shar").mkdir()
    with SharWriter(str(tmp_path / "shar"), fields={"recording": "flac"}, shard_size=2) as writer:
        for cut in cuts:
            writer.write(cut)
    index, drops = index_of("shar", tmp_path / "shar", num_procs=2)
    assert drops.used == 3 and index.keys() == ["a/1", "b", "c"]
    assert [path.rpartition("/")[2] for path in index.header.shards] == ["recording.000000.tar", "recording.000001.tar"]
    read = {cut.id: cut for cut in CutSet.from_shar(in_dir=tmp_path / "shar")}
    for row, key in enumerate(index.keys()):
        np.testing.assert_array_equal(index.audio(row), read[key].load_audio()[0])
    assert index.utterance(1).labels == {"gender": "female", "emotion": "happy"}


def test_recordings_and_cuts_of_shar_that_miss_each_other_are_counted(cuts, index_of, tmp_path):
    (tmp_path / "shar").mkdir()
    with SharWriter(str(tmp_path / "shar"), fields={"recording": "wav"}, shard_size=10) as writer:
        for cut in cuts:
            writer.write(cut)
    path = tmp_path / "shar/cuts.000000.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines()
    lines[1] = lines[1].replace(b'"id": "b"', b'"id": "x"')
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    index, drops = index_of("shar", tmp_path / "shar")
    assert index.keys() == ["a/1", "c"]
    assert reasons(drops) == {"no recording of this cut in the tar": 1, "a recording without cut": 1}


def test_what_is_no_cut_of_one_file_is_a_named_loss(cuts, index_of, tmp_path):
    good = cuts[0].to_dict()
    bad = {
        "a cut without recording": {k: v for k, v in good.items() if k != "recording"},
        "its recording is not one file": {
            **good, "id": "2",
            "recording": {**good["recording"], "sources": [{"type": "command", "channels": [0], "source": "rm -rf x"}]},
        },
        "several supervisions; trim the cuts to them": {**good, "id": "3", "supervisions": 2 * good["supervisions"]},
        "not a MonoCut; mix and pad in training, or write shards of the cuts": cuts[0].pad(2.0).to_dict(),
        "its recording does not have the channel of the cut": {**good, "id": "5", "channel": 7},
        "a cut with transforms of its audio; write shards of such cuts": cuts[0].perturb_speed(1.1).to_dict(),
        "a cut without id or times": {**good, "id": "7", "start": -1.0},
        "not a Lhotse cut": {"type": "MonoCut", "id": "8"},
        "not a JSON object in UTF-8": "[]",
    }  # fmt: skip
    rows = [json.dumps(row) if isinstance(row, dict) else row for row in (good, *bad.values())]
    index, drops = index_of("lhotse", write_list(tmp_path / "cuts.jsonl", *rows))
    assert index.keys() == ["a/1"]
    assert reasons(drops) == dict.fromkeys(bad, 1)


def test_a_damaged_manifest_is_named(cuts, index_of, tmp_path):
    path = save(cuts, tmp_path / "cuts.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"cuts\.jsonl\.gz: damaged"):
        index_of("lhotse", path)


def test_a_resampled_recording_is_read_at_16_khz(index_of, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(8_000) / 5), 8_000)
    recording = Recording.from_file(tmp_path / "a.wav").resample(16_000)
    cut = MonoCut("u", 0.0, 1.0, 0, [SupervisionSegment("u", "a", 0.0, 1.0, text="hi")], recording=recording)
    index, _ = index_of("lhotse", save([cut], tmp_path / "cuts.jsonl"))
    assert index.audio(0).shape == (16_000,)
