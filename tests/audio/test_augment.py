import torch

from osum.audio.augment import SpecAugmentConfig, spec_augment
from osum.rng import rng_for

NOTHING = SpecAugmentConfig(num_freq_masks=0, num_time_masks=0, num_substitutions=0)


def ramp(*lens):
    """Each frame holds its own number, from 1; 0 beyond the end."""
    mel = torch.arange(1.0, max(lens) + 1).repeat(len(lens), 80, 1)
    for i, length in enumerate(lens):
        mel[i, :, length:] = 0
    return mel, torch.tensor(lens)


def augmented(cfg, *lens, keys="ab"):
    mel, mel_lens = ramp(*lens)
    return mel, spec_augment(mel, mel_lens, [rng_for(1, key) for key in keys], cfg)


def test_the_input_stays_and_no_masks_change_nothing():
    mel, out = augmented(NOTHING, 50, 30)
    assert torch.equal(out, mel) and out is not mel


def test_time_masks_are_whole_frames_and_bounded():
    cfg = SpecAugmentConfig(num_freq_masks=0, num_time_masks=1, max_time_share=0.2, num_substitutions=0)
    for key in range(50):
        mel, out = augmented(cfg, 60, keys=[key])
        hidden = (out[0] == 0).all(0)
        assert int(hidden.sum()) <= 12 and torch.equal(out[0, :, ~hidden], mel[0, :, ~hidden])


def test_frequency_masks_are_whole_bins_inside_the_utterance():
    cfg = SpecAugmentConfig(num_freq_masks=1, max_freq_bins=10, num_time_masks=0, num_substitutions=0)
    widths = set()
    for key in range(100):
        _, out = augmented(cfg, 60, keys=[key])
        hidden = (out[0] == 0).all(1)
        widths.add(int(hidden.sum()))
        assert not (out[0, ~hidden] == 0).any()
    assert widths == set(range(11))


def test_substitutions_come_from_earlier_frames():
    cfg = SpecAugmentConfig(num_freq_masks=0, num_time_masks=0, num_substitutions=3)
    mel, out = augmented(cfg, 200, keys=["a"])
    assert (out <= mel).all() and (out < mel).any() and (out[0] == out[0, :1]).all()


def test_draws_belong_to_the_utterance_and_not_to_its_batch():
    cfg = SpecAugmentConfig()
    _, together = augmented(cfg, 90, 40)
    _, alone = augmented(cfg, 40, keys="b")
    assert torch.equal(together[1, :, :40], alone[0]) and (together[1, :, 40:] == 0).all()


def test_one_frame_is_enough():
    _, out = augmented(SpecAugmentConfig(), 1, keys="a")
    assert out.shape == (1, 80, 1)
