import numpy as np
import pytest
from mini import signal


def click_train(rate_hz, times_s, duration_s=1.0):
    audio = np.zeros(int(duration_s * rate_hz))
    audio[np.round(np.array(times_s) * rate_hz).astype(int)] = 1.0
    return audio


@pytest.mark.parametrize(
    ("tract", "end_speed", "tremors"), [(1.0, 1.0, []), (1.4, 1.0, []), (0.95, 1.7, [(5.0, 0.08, 1.0)])]
)
def test_warp_moves_times_with_the_sound(tract, end_speed, tremors):
    times_s = np.array([0.2, 0.5, 0.9])
    speed = signal.speed_curve(22050, 22050, tract=tract, end_speed=end_speed, tremors=tremors)
    audio, moved_s = signal.warp(click_train(22050, times_s), 22050, speed, times_s)
    for time_s in moved_s:
        near = np.abs(audio[int(time_s * 16000) - 80 : int(time_s * 16000) + 80])
        assert abs(int(near.argmax()) - 80) <= 2
    if not tremors:
        assert moved_s[0] == pytest.approx(0.2 / tract, abs=1e-3)


def test_warp_scales_frequencies():
    tone = np.sin(2 * np.pi * 500 * np.arange(22050) / 22050)
    speed = signal.speed_curve(22050, 22050, tract=1.3, end_speed=1.0, tremors=[])
    audio, _ = signal.warp(tone, 22050, speed, np.zeros(1))
    peak_hz = np.abs(np.fft.rfft(audio)).argmax() * 16000 / len(audio)
    assert peak_hz == pytest.approx(650, abs=2)


def test_tilt_changes_the_treble_alone():
    t = np.arange(16000) / 16000
    low, high = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 4000 * t)
    assert np.std(signal.tilt(low, -12)) == pytest.approx(np.std(low), rel=0.1)
    assert np.std(signal.tilt(high, -12)) == pytest.approx(np.std(high) * 10 ** (-12 / 20), rel=0.1)


def test_speech_bounds_find_the_sound():
    audio = np.zeros(16000)
    audio[4000:9000] = np.sin(np.arange(5000) / 5)
    begin, end = signal.speech_bounds(audio)
    assert abs(begin - 4000) <= 170
    assert abs(end - 9000) <= 170


@pytest.mark.parametrize("color", ["white", "pink", "babble"])
def test_noise_has_unit_power(color):
    noise = signal.colored_noise(16000, color, np.random.default_rng(0))
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1.0, rel=0.02)
