from io import BytesIO

import numpy as np
import pytest
import soundfile

from osum.audio import io


def tone(num_samples, rate_hz=16_000, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(num_samples) / rate_hz)).astype(np.float32)


def test_pcm16_clips_and_rounds_halves_away_from_zero():
    steps = np.array([1.0, 2.0, -1.0, -2.0, 0.0, 0.5 / 32768, -0.5 / 32768, 1.49 / 32768, -1.5 / 32768])
    assert io.to_pcm16(steps).tolist() == [32767, 32767, -32768, -32768, 0, 1, -1, 1, -2]


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_encoding_keeps_every_16_bit_value(audio_format):
    values = np.arange(-32768, 32768, dtype=np.int32)
    audio, rate_hz = io.load(io.encode((values / 32768).astype(np.float32), audio_format))
    assert rate_hz == 16_000 and audio.dtype == np.float32
    np.testing.assert_array_equal(audio * 32768, values)


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_samples_of_16_bit_are_kept_where_asked(audio_format):
    samples = np.array([-32768, -1, 0, 1, 32767] * 100, dtype=np.int16)
    data = io.encode(samples / 32768, audio_format)
    kept, _ = io.load(data, keep_int16=True)
    assert kept.dtype == np.int16 and kept.tolist() == samples.tolist()
    audio, _ = io.load(data)
    expected, _ = soundfile.read(BytesIO(data), dtype="float32")
    assert audio.dtype == np.float32
    np.testing.assert_array_equal(audio, expected)
    np.testing.assert_array_equal(io.resample(kept, 16_000, 8_000), io.resample(audio, 16_000, 8_000))


def test_a_part_of_a_file_with_mixed_or_first_channel(tmp_path):
    left, right = tone(8_000), np.zeros(8_000, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    mixed, _ = io.load(tmp_path / "a.wav", start_s=0.1, duration_s=0.2)
    first, _ = io.load(tmp_path / "a.wav", start_s=0.1, duration_s=0.2, mono="first")
    np.testing.assert_allclose(mixed, left[1600:4800] / 2, atol=1e-7)
    np.testing.assert_array_equal(first, left[1600:4800])


def test_resampling_keeps_pitch_and_level():
    out = io.resample(tone(48_000, rate_hz=48_000), 48_000)
    assert out.shape == (16_000,) and out.dtype == np.float32
    np.testing.assert_allclose(out[200:-200], tone(16_000)[200:-200], atol=2e-3)
    assert io.resample(tone(100), 16_000).shape == (100,)
    assert io.resample(tone(8_001, rate_hz=8_000), 8_000).shape == (16_002,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b"not audio"), "unreadable"),
        (lambda p: None, "unreadable"),
        (lambda p: soundfile.write(p, np.zeros(0), 16_000), "no samples"),
        (lambda p: soundfile.write(p, np.array([0.0, np.nan]), 16_000, subtype="FLOAT"), "NaN"),
    ],
)
def test_bad_audio_is_named(tmp_path, make, message):
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(ValueError, match=rf"bad\.wav: .*{message}"):
        io.load(path)


def test_a_file_shorter_than_asked_is_named(tmp_path):
    soundfile.write(tmp_path / "short.wav", tone(16_000), 16_000)
    with pytest.raises(ValueError, match=r"short\.wav: ends 8000 samples before"):
        io.load(tmp_path / "short.wav", start_s=0.5, duration_s=1.0)


def test_bytes_are_named_by_the_caller():
    with pytest.raises(ValueError, match="shard 3: unreadable"):
        io.load(b"junk", name="shard 3")


@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "MP3", "OGG"])
def test_the_length_is_what_decoding_gives(file_format):
    buffer = BytesIO()
    soundfile.write(buffer, np.stack([tone(44_100, 44_100)] * 2, axis=1), 44_100, format=file_format)
    for part in ((0.0, None), (0.25, 0.5)):
        audio, rate_hz = io.load(buffer.getvalue(), *part)
        assert io.length(buffer.getvalue(), *part) == (len(audio), rate_hz)
        assert len(io.resample(audio, rate_hz)) == io.resampled_length(len(audio), rate_hz)


def test_a_wav_that_ends_early_is_named_and_a_streamed_one_is_not():
    wav = bytearray(io.encode(tone(16_000), "wav"))
    with pytest.raises(ValueError, match=r"a\.wav: holds 19956 of 32000 bytes"):
        io.length(bytes(wav[:20_000]), name="a.wav")
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\xff"
    assert io.length(bytes(wav)) == (16_000, 16_000)


def test_a_header_that_declares_too_much_costs_no_memory():
    flac = bytearray(io.encode(tone(16_000), "flac"))
    flac[18:26] = (int.from_bytes(flac[18:26], "big") | (1 << 36) - 1).to_bytes(8, "big")
    for measure in (io.load, io.length):
        with pytest.raises(ValueError, match="68719476735 samples, more than 2147483648; is its header damaged"):
            measure(bytes(flac))
    with pytest.raises(ValueError, match="16000 samples, more than 15999"):
        io.load(io.encode(tone(16_000), "flac"), max_samples=15_999)


def test_channels_and_rates_that_are_none_are_named():
    wav = bytearray(io.encode(tone(16_000), "wav"))
    with pytest.raises(ValueError, match="no channel 1 among 1"):
        io.load(bytes(wav), mono=1)
    wav[24:28] = (1).to_bytes(4, "little")
    with pytest.raises(ValueError, match="1 Hz is no rate of speech"):
        io.load(bytes(wav))


@pytest.mark.parametrize("keep_int16", [True, False])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_a_plain_wav_gives_what_libsndfile_reads(rate_hz, keep_int16):
    audio = np.random.default_rng(0).uniform(-1, 1, 1001).astype(np.float32)
    data = io.encode(audio, "wav", rate_hz)
    assert io._plain_wav(data) is not None
    found, its_rate_hz = io.load(data, keep_int16=keep_int16)
    expected, _ = soundfile.read(BytesIO(data), dtype="int16" if keep_int16 else "float32")
    assert its_rate_hz == rate_hz and found.dtype == expected.dtype and found.flags.writeable
    np.testing.assert_array_equal(found, expected)


def test_any_other_wav_is_not_taken_for_a_plain_one():
    data = io.encode(np.zeros(100, np.float32), "wav")
    stereo, deep = BytesIO(), BytesIO()
    soundfile.write(stereo, np.zeros((100, 2)), 16_000, format="WAV", subtype="PCM_16")
    soundfile.write(deep, np.zeros(100), 16_000, format="WAV", subtype="PCM_24")
    others = [data[:-1], data[:-2], data + b"xx", data[:44], data[:20], b"", stereo.getvalue(), deep.getvalue()]
    others += [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(44)]
    assert [io._plain_wav(other) for other in others] == [None] * len(others)


def plain_flac(samples, **options):
    buffer = BytesIO()
    soundfile.write(buffer, samples, 16_000, format="FLAC", subtype="PCM_16", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("keep_int16", [True, False])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_plain_flac_gives_what_libsndfile_reads(level, keep_int16):
    noise = np.random.default_rng(0).normal(0, 3_000, 50_000)
    samples = np.concatenate([noise, np.zeros(100_000), [-32768, 32767]]).astype(np.int16)
    data = plain_flac(samples, compression_level=level)
    assert io._plain_flac(data, len(samples)) is not None
    audio, rate_hz = io.load(data, keep_int16=keep_int16)
    expected, _ = soundfile.read(BytesIO(data), dtype="int16" if keep_int16 else "float32")
    assert rate_hz == 16_000 and audio.dtype == expected.dtype and audio.flags.writeable
    np.testing.assert_array_equal(audio, expected)


def test_any_other_flac_is_not_taken_for_a_plain_one():
    samples = (3_000 * tone(16_000)).astype(np.int16)
    data = plain_flac(samples)
    stereo, deep = BytesIO(), BytesIO()
    soundfile.write(stereo, np.stack([samples] * 2, axis=1), 16_000, format="FLAC", subtype="PCM_16")
    soundfile.write(deep, samples, 16_000, format="FLAC", subtype="PCM_24")
    for other in (b"", data[:41], b"x" + data[1:], stereo.getvalue(), deep.getvalue()):
        assert io._plain_flac(other, 16_000) is None
    assert io._plain_flac(data, 15_999) is None


def test_a_flac_is_plain_only_if_all_of_it_is_sound():
    """What is wrong with any other libsndfile says: a frame that fails its checksum, an end that is missing."""
    data = plain_flac(np.random.default_rng(0).normal(0, 3_000, 50_000).astype(np.int16))
    assert io._plain_flac(data, 50_000) is not None
    for place in np.linspace(200, len(data) - 3, 40).astype(int):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        assert io._plain_flac(bytes(damaged), 50_000) is None, place
        assert io._plain_flac(data[:place], 50_000) is None, place


def test_a_flac_that_declares_more_than_its_bytes_can_hold_is_not_even_tried(monkeypatch):
    data = bytearray(plain_flac((3_000 * tone(16_000)).astype(np.int16)))
    data[18:26] = (int.from_bytes(data[18:26], "big") | 2**31 - 1).to_bytes(8, "big")
    monkeypatch.setattr("miniaudio.flac_read_s16", lambda data: pytest.fail("tried"))
    assert io._plain_flac(bytes(data), 2**31) is None
