import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from osum.model.encoder import Encoder

CONFIG = WhisperConfig(d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, init_std=0.2)


@pytest.fixture
def whisper():
    torch.manual_seed(0)
    return WhisperEncoder(CONFIG).eval()


def mel_of(*lens, seed=1):
    """Different noise for each utterance; NaN where none of it is, as padding may hold anything."""
    mel = torch.full((len(lens), 80, max(lens)), torch.nan)
    for i, length in enumerate(lens):
        generator = torch.Generator().manual_seed(seed + length)
        mel[i, :, :length] = torch.randn(80, length, generator=generator)
    return mel, torch.tensor(lens)


SIZES = [(80, 24, 6, 3), (128, 32, 4, 2), (128, 64, 1, 1)]
"""Mel bins, width, heads, layers."""


@pytest.mark.parametrize(("n_mels", "width", "num_heads", "num_layers"), SIZES)
@torch.no_grad()
def test_a_full_window_is_whispers_at_any_size(n_mels, width, num_heads, num_layers):
    torch.manual_seed(0)
    config = WhisperConfig(
        num_mel_bins=n_mels,
        d_model=width,
        encoder_attention_heads=num_heads,
        encoder_layers=num_layers,
        encoder_ffn_dim=4 * width,
        init_std=0.2,
    )
    encoder = Encoder(WhisperEncoder(config)).eval()
    mel = torch.randn(2, n_mels, 3000)
    theirs = encoder.whisper(mel).last_hidden_state
    ours, packing = encoder(mel, torch.tensor([3000, 3000]))
    assert packing.lens.tolist() == [1500, 1500]
    torch.testing.assert_close(ours, theirs.flatten(0, 1), atol=1e-4, rtol=0)


@torch.no_grad()
def test_no_utterance_depends_on_its_batch(whisper):
    encoder, lens = Encoder(whisper), (60, 31, 100, 1)
    together, packing = encoder(*mel_of(*lens))
    assert packing.lens.tolist() == [30, 16, 50, 1]
    for length, frames in zip(lens, together.split(packing.lens.tolist()), strict=True):
        torch.testing.assert_close(frames, encoder(*mel_of(length))[0], atol=1e-5, rtol=0)


def test_more_than_the_position_table_is_refused(whisper):
    with pytest.raises(ValueError, match="3001 mel frames exceed Whisper's 3000"):
        Encoder(whisper)(torch.zeros(1, 80, 3001), torch.tensor([3001]))
