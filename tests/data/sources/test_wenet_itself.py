"""WeNet's own dataset and ours read the same data: keys, texts and samples. Needs WeNet (tools/install_wenet.sh)."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from tests.data.foreign import speech, write_list, write_tar


@pytest.fixture
def wenet(monkeypatch):
    """WeNet's sources and steps; soundfile decodes, for torchaudio alone no longer does."""
    datapipes = pytest.importorskip("wenet.dataset.datapipes", reason="WeNet is not installed (tools/install_wenet.sh)")
    from wenet.dataset import processor

    def load(source, frame_offset=0, num_frames=-1):
        samples, rate_hz = soundfile.read(source, num_frames, frame_offset, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T), rate_hz

    def info(source):
        return SimpleNamespace(sample_rate=soundfile.info(source).samplerate)

    monkeypatch.setattr(processor.torchaudio, "load", load)
    monkeypatch.setattr(processor.torchaudio, "info", info, raising=False)
    return datapipes, processor


def same(index, samples):
    """Tell that an index holds what WeNet has read."""
    found = {sample["key"]: sample for sample in samples}
    assert set(found) == set(index.keys())
    for row, key in enumerate(index.keys()):
        assert found[key]["sample_rate"] == 16_000
        assert found[key]["txt"] == index.utterance(row).text
        np.testing.assert_array_equal(found[key]["wav"][0].numpy(), index.audio(row))
    return True


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_wenet_reads_our_shards(make_index, toy, wenet, audio_format):
    datapipes, processor = wenet
    index = make_index(toy(6), num_shards=2, audio_format=audio_format)
    tars = [index.folder / name for name in index.header.shards]
    path = write_list(index.folder / "shards.list", *tars)
    source = datapipes.WenetTarShardDatasetSource(str(path), partition=False)
    assert same(index, map(processor.decode_wav, source))


def test_we_read_wenets_shards(index_of, tmp_path, wenet):
    datapipes, processor = wenet
    members = {}
    for i in range(5):
        members |= {f"a.b/u.{i}.txt": "你好", f"a.b/u.{i}.wav": speech(9_000 + i, seed=i)}
    path = write_list(tmp_path / "shards.list", write_tar(tmp_path / "a.tar", members))
    index, _ = index_of("wenet_shard", path)
    source = datapipes.WenetTarShardDatasetSource(str(path), partition=False)
    assert same(index, map(processor.decode_wav, source))


def test_we_read_wenets_lists(index_of, tmp_path, wenet):
    datapipes, processor = wenet
    (tmp_path / "a.wav").write_bytes(speech(48_000))
    row = {"wav": str(tmp_path / "a.wav"), "txt": "你好"}
    times = [{}, {"start": 0.5, "end": 2.25}, {"start": 1.0, "end": 3.0}]
    path = write_list(tmp_path / "data.list", *({"key": f"u{i}", **row, **t} for i, t in enumerate(times)))
    index, _ = index_of("wenet_raw", path)
    source = datapipes.WenetRawDatasetSource(str(path), partition=False)
    assert same(index, (processor.decode_wav(processor.parse_json(line)) for line in source))
