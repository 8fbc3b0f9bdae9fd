import numpy as np
import pytest

from osum.audio.waveform import add_noise, amplify, looped, power, reverberate, within_full_scale

RNG = np.random.default_rng(0)
SPEECH, NOISE = (RNG.normal(0, scale, 16_000).astype(np.float32) for scale in (0.1, 0.3))
SILENCE = np.zeros(16_000, dtype=np.float32)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.5])
def test_the_ratio_of_speech_to_noise_is_reached(snr_db):
    mixed = add_noise(SPEECH, NOISE, snr_db)
    assert mixed.dtype == np.float32
    assert 10 * np.log10(power(SPEECH) / power(mixed - SPEECH)) == pytest.approx(snr_db, abs=0.01)


def test_silence_gets_no_noise_and_is_none():
    np.testing.assert_array_equal(add_noise(SILENCE, NOISE, 10.0), SILENCE)
    np.testing.assert_array_equal(add_noise(SPEECH, SILENCE, 10.0), SPEECH)


def test_a_response_comes_without_delay_and_keeps_the_power():
    response = np.zeros(4_000, dtype=np.float32)
    response[[100, 2_100]] = [0.5, 0.25]
    wet = reverberate(SPEECH, response)
    assert wet.dtype == np.float32 and len(wet) == len(SPEECH) and power(wet) == pytest.approx(power(SPEECH))
    expected = SPEECH.copy()
    expected[2_000:] += 0.5 * SPEECH[:-2_000]
    np.testing.assert_allclose(wet, expected * np.sqrt(power(SPEECH) / power(expected)), atol=1e-6)


def test_reverberation_of_silence_and_by_silence():
    np.testing.assert_array_equal(reverberate(SILENCE, NOISE[:100]), SILENCE)
    with pytest.raises(ValueError, match="silent"):
        reverberate(SPEECH, SILENCE)


def test_a_gain_is_in_db_of_amplitude():
    np.testing.assert_allclose(amplify(SPEECH, 20.0), 10 * SPEECH, rtol=1e-6)
    np.testing.assert_allclose(amplify(SPEECH, -6.0206), SPEECH / 2, rtol=1e-5)


def test_nothing_clips():
    loud = np.array([0.5, -2.0, 1.0], dtype=np.float32)
    assert within_full_scale(loud).tolist() == [0.25, -1.0, 0.5]
    assert within_full_scale(SPEECH) is SPEECH and len(within_full_scale(SILENCE[:0])) == 0


def test_what_is_short_is_repeated():
    assert looped(np.array([1.0, 2.0, 3.0]), 2, 8).tolist() == [3, 1, 2, 3, 1, 2, 3, 1]
    assert looped(np.array([7.0]), 0, 3).tolist() == [7, 7, 7]
