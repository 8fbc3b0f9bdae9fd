"""Audio files and bytes in and out: float32 mono at 16 kHz inside, 16-bit PCM or FLAC outside."""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np
import soundfile

from osum.audio.frames import SAMPLE_RATE_HZ

AudioFormat = Literal["flac", "wav"]
Mono = Literal["mix", "first"] | int
Source = str | Path | bytes | BinaryIO
"""A path, the bytes of a file, or an open file that can seek."""
Count = TypeVar("Count", int, np.ndarray)

EXACT_HEADERS = frozenset({"WAV", "WAVEX", "RF64", "W64", "FLAC"})
"""Formats whose headers tell the number of samples; others estimate it."""
CUT_WAV = re.compile(r"^data : (\d+) \(should be (\d+)\)$", re.MULTILINE)
"""How libsndfile reports that a WAV does not have as many bytes of samples as its header says."""
PLAIN_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")
FLAC_HEADER_BYTES = 42
"""Magic and STREAMINFO."""
MAX_FLAC_SAMPLES_A_BYTE = 1024
"""Silence has some 300."""
MIN_STREAMED_BYTES = 2**31 - 2**16
"""Programs that write to a pipe put at least this where the number of bytes belongs."""
MAX_FILE_SAMPLES = 2**31
"""Longer audio (37 h at 16 kHz) is taken for a damaged header."""
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 384_000
BLOCK_VALUES = 2**20
"""Samples, over all channels, that are decoded at once."""


def load(
    source: Source,
    start_s: float = 0.0,
    duration_s: float | None = None,
    mono: Mono = "mix",
    name: str | None = None,
    max_samples: int = MAX_FILE_SAMPLES,
    keep_int16: bool = False,
) -> tuple[np.ndarray, int]:
    """Read a file, or the bytes of one, at its own rate: (num_samples,) float32 in [-1, 1] and the rate in Hz.

    With `keep_int16` the samples of a 16-bit file stay as they are, unless channels are averaged.
    `duration_s` None reads to the end. Several channels are averaged (`mix`), or one is taken (`first`, or its number).
    Memory is taken for what is there, whatever the header declares. ValueError naming the file (or `name`) if it is
    unreadable, shorter than asked, longer than `max_samples`, empty or not finite.
    """
    whole = isinstance(source, bytes) and start_s == 0 and duration_s is None
    plain = (_plain_wav(source) or _plain_flac(source, max_samples)) if whole else None
    if plain is not None and mono in ("mix", "first", 0) and len(plain[0]) <= max_samples:
        audio, rate_hz = plain
        return audio if keep_int16 else to_float(audio), rate_hz
    with _opened(source, name) as (f, name):
        start, wanted = _extent(f, start_s, duration_s, name, max_samples)
        if start:  # of a FLAC, going to where it is costs the decoding of a frame
            f.seek(start)
        audio = _to_mono(_frames(f, wanted), mono, name)
    audio = audio if keep_int16 else to_float(audio)
    # A file may end before its header says so; what was asked for has to be there.
    if duration_s is not None and len(audio) < wanted:
        raise _too_short(name, start_s, duration_s, wanted - len(audio))
    return check(audio, name), f.samplerate


def length(
    source: Source, start_s: float = 0.0, duration_s: float | None = None, name: str | None = None
) -> tuple[int, int]:
    """Return the number of samples that `load` would give, and the rate in Hz, without decoding WAV and FLAC.

    Headers of other formats only estimate it. ValueError as `load`, as far as a header tells, and for a WAV that ends
    before its header says so, which `load` would take for a shorter one.
    """
    with _opened(source, name) as (f, name):
        cut = CUT_WAV.search(f.extra_info) if f.format.startswith("WAV") else None
        if cut and int(cut[2]) < int(cut[1]) < MIN_STREAMED_BYTES:
            raise ValueError(f"{name}: holds {cut[2]} of {cut[1]} bytes of samples; fetch it again")
        start, wanted = _extent(f, start_s, duration_s, name, MAX_FILE_SAMPLES)
        if f.format not in EXACT_HEADERS:
            f.seek(start)
            wanted = len(_frames(f, wanted))
    return wanted, f.samplerate


def _plain_wav(data: bytes) -> tuple[np.ndarray, int] | None:
    """Samples and rate of a WAV of one channel of 16 bit behind the shortest of headers, None for any other file.

    That is what shards hold; libsndfile takes several times as long, for it reads through callbacks into Python.
    """
    if len(data) <= PLAIN_WAV.size:
        return None
    *said, rate_hz, bytes_a_second, frame_bytes, bits, data_tag, num_bytes = PLAIN_WAV.unpack_from(data)
    usual = [b"RIFF", len(data) - 8, b"WAVE", b"fmt ", 16, 1, 1]  # 16 bytes of format, PCM, one channel
    if said != usual or (bytes_a_second, frame_bytes, bits, data_tag) != (2 * rate_hz, 2, 16, b"data"):
        return None
    if num_bytes != len(data) - PLAIN_WAV.size or num_bytes % 2 or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        return None
    return np.frombuffer(data, "<i2", offset=PLAIN_WAV.size).astype(np.int16), rate_hz


def _plain_flac(data: bytes, max_samples: int) -> tuple[np.ndarray, int] | None:
    """Samples and rate of a FLAC of one channel of 16 bit, None for any other file, and for one that is damaged.

    dr_flac takes less than half the time of libsndfile, which is left to say what is wrong with a file.
    """
    if len(data) < FLAC_HEADER_BYTES or data[:4] != b"fLaC" or data[4] & 0x7F:  # the first block is STREAMINFO, type 0
        return None
    numbers = int.from_bytes(data[18:26], "big")  # 20 bits of rate, 3 of channels, 5 of bits a sample, 36 of samples
    rate_hz, channels, bits = numbers >> 44, (numbers >> 41 & 7) + 1, (numbers >> 36 & 31) + 1
    num_samples = numbers & (1 << 36) - 1
    if (channels, bits) != (1, 16) or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        return None
    # dr_flac takes memory for what the header declares.
    if not 0 < num_samples <= min(max_samples, MAX_FLAC_SAMPLES_A_BYTE * len(data)):
        return None
    import miniaudio  # on use: most of what imports this module decodes no FLAC

    try:
        audio = np.frombuffer(miniaudio.flac_read_s16(data).samples, np.int16)
    except miniaudio.DecodeError:
        return None
    return (audio, rate_hz) if len(audio) == num_samples else None


@contextmanager
def _opened(source: Source, name: str | None) -> Iterator[tuple[soundfile.SoundFile, str]]:
    name = name or (f"<{len(source)} bytes>" if isinstance(source, bytes) else str(source))
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source) if isinstance(source, Path) else source
    try:
        with soundfile.SoundFile(file) as f:
            if not MIN_RATE_HZ <= f.samplerate <= MAX_RATE_HZ:
                raise ValueError(f"{name}: {f.samplerate} Hz is no rate of speech; is its header damaged?")
            yield f, name
    except (soundfile.SoundFileError, OSError) as err:
        is_missing = isinstance(source, str | Path) and not Path(source).exists()
        why = "no such file" if is_missing else err
        raise ValueError(f"{name}: unreadable audio ({why}); repair the file or take it off the list") from err


def _extent(
    f: soundfile.SoundFile, start_s: float, duration_s: float | None, name: str, max_samples: int
) -> tuple[int, int]:
    """First sample of a part of a file, and how many there are. ValueError if the header does not have so many."""
    start = min(round(start_s * f.samplerate), f.frames)
    wanted = f.frames - start if duration_s is None else round(duration_s * f.samplerate)
    if wanted > f.frames - start:
        raise _too_short(name, start_s, duration_s, wanted - f.frames + start)
    if wanted > max_samples:
        raise ValueError(f"{name}: {wanted} samples, more than {max_samples}; is its header damaged?")
    return start, wanted


def _too_short(name: str, start_s: float, duration_s: float | None, num_missing: int) -> ValueError:
    return ValueError(f"{name}: ends {num_missing} samples before {start_s} s + {duration_s} s; correct the times")


def _frames(f: soundfile.SoundFile, wanted: int) -> np.ndarray:
    """(at most `wanted`, channels), int16 of a 16-bit file and float32 of others.

    Read in blocks: a header that promises too much costs no memory.
    """
    dtype = "int16" if f.subtype == "PCM_16" else "float32"
    blocks = []
    while wanted > 0:
        blocks.append(f.read(min(wanted, max(1, BLOCK_VALUES // f.channels)), dtype=dtype, always_2d=True))
        wanted -= len(blocks[-1])
        if not len(blocks[-1]):
            break
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros((0, f.channels), dtype), *blocks])


def to_float(audio: np.ndarray) -> np.ndarray:
    """Samples of 16 bit -> float32 in [-1, 1]; others are returned as they are."""
    # The same numbers as libsndfile gives, in a fifth of its time for a WAV.
    return np.multiply(audio, np.float32(2**-15), dtype=np.float32) if audio.dtype == np.int16 else audio


def _to_mono(audio: np.ndarray, mono: Mono, name: str) -> np.ndarray:
    """(num_samples, channels) -> (num_samples,)."""
    if mono == "mix":
        return to_float(audio).mean(axis=1) if audio.shape[1] > 1 else audio[:, 0]
    channel = 0 if mono == "first" else mono
    if not 0 <= channel < audio.shape[1]:
        raise ValueError(f"{name}: no channel {channel} among {audio.shape[1]}; correct the channel")
    return audio[:, channel]


def check(audio: np.ndarray, name: str) -> np.ndarray:
    """Return the samples unchanged. ValueError naming the audio if there are none or some are not finite."""
    if audio.shape[0] == 0:
        raise ValueError(f"{name}: no samples; repair the file or take it off the list")
    if audio.dtype != np.int16 and not np.isfinite(audio).all():
        raise ValueError(f"{name}: NaN or infinite samples; repair the file or take it off the list")
    return audio


def resample(audio: np.ndarray, rate_hz: int, to_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """(num_samples,) at `rate_hz` -> (ceil(num_samples * to_hz / rate_hz),) float32 at `to_hz`; as it is if they agree.

    The audio is float32, or int16.
    """
    if rate_hz == to_hz:
        return audio
    from scipy.signal import resample_poly  # on use: importing it takes a second, and shards are at 16 kHz

    common = math.gcd(rate_hz, to_hz)
    return resample_poly(to_float(audio), to_hz // common, rate_hz // common).astype(np.float32)


def resampled_length(num_samples: Count, rate_hz: int, to_hz: int = SAMPLE_RATE_HZ) -> Count:
    """Return the length of what `resample` returns."""
    return -(-num_samples * to_hz // rate_hz)


def to_pcm16(audio: np.ndarray) -> np.ndarray:
    """(num_samples,) float in [-1, 1] -> int16, halves rounded away from zero; beyond full scale clips, never wraps."""
    scaled = audio.astype(np.float64) * 32768.0
    return np.clip(np.trunc(scaled + np.copysign(0.5, scaled)), -32768, 32767).astype(np.int16)


def encode(audio: np.ndarray, audio_format: AudioFormat, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """(num_samples,) float32 in [-1, 1] -> the bytes of a mono 16-bit FLAC or WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(audio), rate_hz, format=audio_format.upper(), subtype="PCM_16")
    return buffer.getvalue()
