"""The benchmark of loading itself, on a few utterances; nothing is timed."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from osum.audio import io
from osum.audio.features import LogMel

NUM_UTTERANCES = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    before = list(sys.path)
    sys.path.insert(0, str(Path(__file__).parent))  # as for a script of this folder
    import loader_corpus

    made = tmp_path_factory.mktemp("corpus")
    loader_corpus.write(made, NUM_UTTERANCES)
    yield made
    sys.path[:] = before


def sides(folder):
    from loader_sides import Baseline, Ours

    return {f"{make.__name__}.{f}": make(folder, f) for f in ("flac", "wav") for make in (Baseline, Ours)}


def test_the_corpus_is_as_described(folder):
    import loader_corpus

    words = loader_corpus._words()
    drawn = [loader_corpus.draw(number, words) for number in range(200)]
    durations_s = np.array([len(audio) / 16_000 for _, audio in drawn])
    assert durations_s.min() >= 2 and durations_s.max() <= 10 and durations_s.mean() == pytest.approx(6, abs=0.5)
    assert max(np.abs(audio).max() for _, audio in drawn) < 1
    sizes = [sum(p.stat().st_size for p in (folder / f).glob("*.tar")) for f in ("flac", "wav")]
    assert 0.3 < sizes[0] / sizes[1] < 0.8


def test_all_sides_give_the_same_utterances_samples_and_targets(folder):
    import loader_corpus

    words = loader_corpus._words()
    drawn = [loader_corpus.draw(number, words) for number in range(NUM_UTTERANCES)]
    expected = {about.key: io.to_pcm16(audio) / np.float32(2**15) for about, audio in drawn}
    targets = []
    for name, side in sides(folder).items():
        found, of_side = {}, {}
        for batch in side.epoch(3, num_workers=0):
            utterances = list(side.utterances(batch))
            found.update(utterances)
            of_side |= {key: ids for (key, _), ids in zip(utterances, side.targets(batch), strict=True)}
        assert found.keys() == expected.keys(), name
        for key, samples in found.items():
            np.testing.assert_array_equal(samples, expected[key], err_msg=name)
        targets.append(of_side)
    assert all(of_side == targets[0] for of_side in targets) and min(map(len, targets[0].values())) > 2


def test_features_of_the_baseline_are_those_of_our_model(folder):
    baseline = sides(folder)["Baseline.flac"]
    batch = next(baseline.epoch(0, num_workers=0))
    samples = [torch.from_numpy(s) for _, s in baseline.utterances(batch)]
    lens = torch.tensor([len(s) for s in samples])
    found, frames = LogMel(80)(torch.cat(samples), lens)
    assert batch["feats_lengths"].tolist() == frames.tolist()
    torch.testing.assert_close(batch["feats"].transpose(1, 2), found, atol=1e-5, rtol=0)


def test_batches_of_the_baseline_keep_its_limits(folder):
    baseline = sides(folder)["Baseline.wav"]
    batches = list(baseline.epoch(1, num_workers=0))
    assert len(batches) > 3 and all(b["feats"].shape[0] * b["feats"].shape[1] <= 3900 for b in batches)
    assert all(b["pcm"].shape[1] == int(b["pcm_length"].max()) for b in batches)
