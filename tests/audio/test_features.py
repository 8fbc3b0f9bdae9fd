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


def features(*audio, n_mels=80, pad_to_30s=False):
    lens = torch.tensor([len(a) for a in audio])
    mel, mel_lens = LogMel(n_mels, pad_to_30s)(torch.cat(audio), lens)
    return [m[:, :n] for m, n in zip(mel, mel_lens.tolist(), strict=True)]


@pytest.mark.parametrize("n_mels", [80, 128])
def test_a_full_window_is_whispers(n_mels):
    audio = speechlike(480_000, 0)
    theirs = WhisperFeatureExtractor(feature_size=n_mels)(audio.numpy(), sampling_rate=16_000, return_tensors="pt")
    (ours,) = features(audio, n_mels=n_mels)
    torch.testing.assert_close(ours, theirs.input_features[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_samples", [400, 16_161, 480_000])
def test_padded_to_30s_they_are_the_extractors_of_transformers(num_samples):
    audio = speechlike(num_samples, 2)
    theirs = WhisperFeatureExtractor()(audio.numpy(), sampling_rate=16_000, return_tensors="pt")
    ours = features(audio, speechlike(999, 3), pad_to_30s=True)[0]
    assert ours.shape == (80, 3000)
    torch.testing.assert_close(ours, theirs.input_features[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_samples", [400, 4_801, 16_161, 70_000])
def test_at_true_length_they_are_wenets(num_samples):
    # Its formula, with padding 0: a centred STFT without its last frame, at the precision of float64.
    audio = speechlike(num_samples, 4)
    window = torch.hann_window(400, dtype=torch.float64)
    power = torch.stft(audio.double(), 400, 160, window=window, return_complex=True)[:, :-1].abs() ** 2
    log_mel = (LogMel(80).filters.double().T @ power).clamp(min=1e-10).log10()
    wanted = (torch.maximum(log_mel, log_mel.max() - 8.0) + 4.0) / 4.0
    torch.testing.assert_close(features(audio)[0], wanted.float(), atol=1e-5, rtol=0)


def test_integer_samples_are_those_of_a_wav_file():
    audio = (speechlike(8_000, 5) * 2**15).round()
    assert torch.equal(features(audio.to(torch.int16))[0], features(audio / 2**15)[0])


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


def test_more_than_30s_is_not_padded_to_30s():
    with pytest.raises(ValueError, match="480001 samples is longer than 480000"):
        features(torch.zeros(480_001), pad_to_30s=True)
    assert features(torch.zeros(480_160))[0].shape == (80, 3001)
