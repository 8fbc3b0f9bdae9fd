import numpy as np
import pytest

from osum.audio.speed import change_speed, sped_length


def test_lengths_follow_from_the_reduced_ratio():
    assert [sped_length(16_000, speed) for speed in (0.9, 1.0, 1.1, 2.0)] == [17_778, 16_000, 14_546, 8_000]
    assert sped_length(np.array([1, 400, 48_001]), 0.9).tolist() == [2, 445, 53_335]


@pytest.mark.parametrize("speed", [0.5, 0.9, 0.97, 1.1, 2.0])
def test_pitch_and_tempo_change_alike(speed):
    audio = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_007) / 16_000)).astype(np.float32)
    changed = change_speed(audio, speed)
    assert changed.dtype == np.float32 and len(changed) == sped_length(16_007, speed)
    spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed))))
    assert spectrum.argmax() * 16_000 / len(changed) == pytest.approx(1000 * speed, abs=2)
    assert np.sqrt(2 * np.mean(changed[200:-200] ** 2)) == pytest.approx(0.5, abs=0.01)


def test_what_overshoots_becomes_quieter():
    square = np.sign(np.sin(2 * np.pi * 300 * np.arange(8_000) / 16_000)).astype(np.float32)
    assert np.abs(change_speed(square, 0.9)).max() == 1.0
