import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from osum.audio.features import LogMel


def speechlike(num_samples, seed):
    """Noise under a slow envelope, so that the loudest bin and the dynamic range matter."""
    rng = np.random.default_rng(seed)
    envelope = np.sin(np.arange(num_samples) / 3000 + seed) ** 4
    return torch.from_numpy((0.3 * envelope * rng.standard_normal(num_samples)).astype(np.float32))


def features(*audio, n_mels=80):
    lens = torch.tensor([len(a) for a in audio])
    mel, mel_lens = LogMel(n_mels)(torch.cat(audio), lens)
    return [m[:, :n] for m, n in zip(mel, mel_lens.tolist(), strict=True)]


@pytest.mark.parametrize("n_mels", [80, 128])
def test_a_full_window_is_whispers(n_mels):
    audio = speechlike(480_000, 0)
    theirs = WhisperFeatureExtractor(feature_size=n_mels)(audio.numpy(), sampling_rate=16_000, return_tensors="pt")
    (ours,) = features(audio, n_mels=n_mels)
    torch.testing.assert_close(ours, theirs.input_features[0], atol=1e-5, rtol=0)


def test_features_do_not_depend_on_the_batch():
    audio = [speechlike(n, i) for i, n in enumerate((16_000, 400, 8_123, 48_001))]
    for alone, together in zip(audio, features(*audio), strict=True):
        torch.testing.assert_close(together, features(alone)[0], atol=1e-6, rtol=0)


def test_nothing_is_beyond_the_end():
    mel, lens = LogMel(80)(torch.cat([speechlike(3_200, 0), speechlike(1_600, 1)]), torch.tensor([3_200, 1_600]))
    assert mel.shape == (2, 80, 20) and lens.tolist() == [20, 10]
    assert (mel[1, :, 10:] == 0).all() and (mel[1, :, :10] != 0).any()


def test_silence_is_the_floor():
    (mel,) = features(torch.zeros(1_600))
    torch.testing.assert_close(mel, torch.full((80, 10), -1.5))  # (log10(1e-10) + 4) / 4


def test_less_than_a_window_is_refused():
    with pytest.raises(ValueError, match="399 samples is shorter than 400"):
        features(torch.zeros(399))
