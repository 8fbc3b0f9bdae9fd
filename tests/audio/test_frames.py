import numpy as np
import torch

from osum.audio.frames import num_adaptor_frames, num_encoder_frames, num_mel_frames, num_speech_embeddings


def test_literal_lengths():
    samples = np.array([400, 1600, 16_000, 16_160, 79_999, 480_000])
    assert num_mel_frames(samples).tolist() == [2, 10, 100, 101, 499, 3000]
    assert num_encoder_frames(num_mel_frames(samples)).tolist() == [1, 5, 50, 51, 250, 1500]
    assert num_speech_embeddings(samples).tolist() == [1, 2, 13, 13, 63, 375]


def test_odd_lengths_round_up():
    assert [num_encoder_frames(n) for n in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert [num_adaptor_frames(n) for n in range(1, 10)] == [1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_the_kind_of_number_is_kept():
    assert isinstance(num_speech_embeddings(16_000), int)
    assert num_speech_embeddings(np.array([16_000])).dtype == np.int64
    assert torch.equal(num_speech_embeddings(torch.tensor([16_000, 480_000])), torch.tensor([13, 375]))
