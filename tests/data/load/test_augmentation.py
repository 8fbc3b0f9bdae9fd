import numpy as np
import pytest
import soundfile

from osum.audio.waveform import power
from osum.data.load.audio_lists import AudioFile
from osum.data.load.augment_config import AugmentConfig, NoiseConfig, ReverbConfig, VolumeConfig
from osum.data.load.augmentation import build, excerpt
from osum.data.store.clips import Clip
from osum.rng import rng_for

SPEECH = rng_for("speech").normal(0, 0.05, 24_000).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    """Writer of an audio file: `write(name, samples, rate_hz=16_000)` -> its path."""

    def write(name, samples, rate_hz=16_000):
        soundfile.write(tmp_path / name, samples, rate_hz, subtype="FLOAT")
        return tmp_path / name

    return write


@pytest.fixture
def noises(write, tmp_path):
    """A list of three noises: shorter than speech, longer, and at another rate."""
    rng = rng_for("noise")
    of = {"short.wav": (700, 16_000), "long.wav": (90_000, 16_000), "wide.wav": (200_000, 44_100)}
    paths = [write(name, rng.normal(0, 0.2, count), rate_hz) for name, (count, rate_hz) in of.items()]
    (tmp_path / "noises.txt").write_text("".join(f"{path}\n" for path in paths))
    return tmp_path / "noises.txt"


def test_nothing_is_configured_at_first():
    assert build(AugmentConfig()) is None and AugmentConfig().lists == []


def test_the_ratio_lies_in_its_range_whatever_the_noise(noises):
    augment = build(AugmentConfig(noises=[NoiseConfig(noises, probability=1.0, snr_db=(3.0, 9.0))]))
    found = [augment(SPEECH, rng_for(n)) for n in range(40)]
    assert {(len(audio), audio.dtype) for audio in found} == {(24_000, np.dtype(np.float32))}
    ratios = [10 * np.log10(power(SPEECH) / power(audio - SPEECH)) for audio in found]
    assert 2.9 <= min(ratios) < 4 and 8 < max(ratios) <= 9.1


def test_draws_depend_on_the_generator_alone(noises, write, tmp_path):
    (tmp_path / "rooms.txt").write_text(f"{write('room.wav', rng_for('room').normal(0, 0.1, 500))}\n")
    cfg = AugmentConfig(ReverbConfig(tmp_path / "rooms.txt"), [NoiseConfig(noises)], VolumeConfig())
    assert cfg.lists == [tmp_path / "rooms.txt", noises]
    first, second = ([build(cfg)(SPEECH, rng_for(n)) for n in range(20)] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len({audio.tobytes() for audio in first}) == 20


def test_a_share_of_the_utterances_stays_as_it_is(noises):
    augment = build(AugmentConfig(noises=[NoiseConfig(noises, probability=0.25)]))
    unchanged = sum(np.array_equal(augment(SPEECH, rng_for(n)), SPEECH) for n in range(100))
    assert 60 <= unchanged <= 90
    never = build(AugmentConfig(noises=[NoiseConfig(noises, probability=0.0)]))
    assert all(never(SPEECH, rng_for(n)) is SPEECH for n in range(20))


def test_loud_speech_does_not_clip():
    louder = build(AugmentConfig(volume=VolumeConfig(gain_db=(30.0, 30.0))))(SPEECH, rng_for(0))
    assert np.abs(louder).max() == pytest.approx(1.0)
    np.testing.assert_allclose(louder, SPEECH / np.abs(SPEECH).max(), rtol=1e-5)


def test_an_excerpt_is_a_stretch_of_the_noise_or_its_repetition(write):
    ramp = AudioFile(str(write("ramp.wav", np.arange(1_000) / 1_000)), Clip(channel=0))
    steps = np.diff(excerpt(ramp, 900, rng_for(0)))
    np.testing.assert_allclose(steps, 0.001, atol=1e-6)
    repeated = excerpt(ramp, 2_500, rng_for(1))
    assert len(repeated) == 2_500 and (np.diff(repeated) < 0).sum() in (2, 3)
    assert len({excerpt(ramp, 900, rng_for(n))[0] for n in range(20)}) > 10


@pytest.mark.parametrize("name", ["gone", "silent"])
def test_a_file_that_fails_in_use_is_named(write, tmp_path, name):
    path = write(f"{name}.wav", np.zeros(100))
    (tmp_path / "list").write_text(f"{path}\n")
    augment = build(AugmentConfig(reverb=ReverbConfig(tmp_path / "list", probability=1.0)))
    if name == "gone":
        path.unlink()
    with pytest.raises(ValueError, match=f"{name}.wav: "):
        augment(SPEECH, rng_for(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseConfig("a", probability=1.5), "augment.noises.probability is 1.5"),
        (lambda: NoiseConfig("a", snr_db=(20.0, 5.0)), r"augment.noises.snr_db is \(20.0, 5.0\)"),
        (lambda: ReverbConfig("a", probability=-0.1), "augment.reverb.probability"),
        (lambda: VolumeConfig(gain_db=(float("nan"), 0.0)), "augment.volume.gain_db"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
