import io
import json
import os
import tarfile

import numpy as np
import pytest
import soundfile

from osum.audio import io as audio_io
from tests.data.foreign import reasons, speech, write_list, write_tar


@pytest.fixture
def shards(tmp_path):
    """Two tars of two utterances each, as WeNet writes them, and their list."""
    tars = []
    for n in range(2):
        members = {}
        for i in range(2):
            members |= {f"sp{n}/u.{i}.txt": f"你好 {n}{i}", f"sp{n}/u.{i}.wav": speech(8_000 + 100 * i, seed=2 * n + i)}
        tars.append(write_tar(tmp_path / f"shard_{n:09d}.tar", members))
    return write_list(tmp_path / "shards.list", *tars)


def test_a_shard_list_is_indexed_in_place(index_of, shards, tmp_path):
    index, drops = index_of("wenet_shard", shards, language="zh")
    assert (drops.read, drops.used) == (4, 4)
    assert index.keys() == ["sp0/u.0", "sp0/u.1", "sp1/u.0", "sp1/u.1"]
    assert index.header.shards == [str(tmp_path / f"shard_{n:09d}.tar") for n in range(2)]
    assert index.header.tasks == ["asr"] and index.header.languages == ["zh"] and index.header.corpora == ["toy"]
    for row, key in enumerate(index.keys()):
        with tarfile.open(index.header.shards[row // 2]) as tar:
            expected, _ = audio_io.load(tar.extractfile(f"{key}.wav").read())
        np.testing.assert_array_equal(index.audio(row), expected)
        assert index.utterance(row).text == f"你好{row // 2}{row % 2}"
        assert index.utterance(row).num_samples == 8_000 + 100 * (row % 2)


def test_the_number_of_processes_changes_no_byte(index_of, shards):
    alone, _ = index_of("wenet_shard", shards)
    shared, _ = index_of("wenet_shard", shards, num_procs=2)
    for path in sorted(alone.folder.iterdir()):
        assert path.read_bytes() == (shared.folder / path.name).read_bytes(), path.name


def test_a_raw_list_with_times_labels_and_other_rates(index_of, tmp_path):
    (tmp_path / "long.wav").write_bytes(speech(48_000, rate_hz=48_000, channels=2))
    (tmp_path / "a.mp3").write_bytes(speech(44_100, rate_hz=44_100, audio_format="MP3"))
    path = write_list(
        tmp_path / "data.list",
        {"key": "part", "wav": str(tmp_path / "long.wav"), "txt": "hello", "start": 0.25, "end": 0.75, "lang": "EN"},
        {"key": "all", "wav": "long.wav", "txt": "", "gender": "F", "age": 33, "speaker": 7},
        {"key": "mp3", "wav": "a.mp3", "txt": "hi there", "emotion": "HAPPY"},
        {"key": "late", "wav": "a.mp3", "txt": "end by rounding", "start": 0.5, "end": 1.04},
    )
    index, drops = index_of("wenet_raw", path, root=str(tmp_path), decode=True)
    assert drops.used == 4
    samples, _ = soundfile.read(tmp_path / "long.wav", dtype="float32")
    whole = audio_io.resample(samples.mean(axis=1), 48_000)
    part = audio_io.resample(samples[12_000:36_000].mean(axis=1), 48_000)
    np.testing.assert_array_equal(index.audio(index.find("part")), part)
    np.testing.assert_array_equal(index.audio(index.find("all")), whole)
    assert index.audio(index.find("mp3")).shape == (16_000,)
    assert index.audio(index.find("late")).shape == (8_000,)
    part, silent, happy = (index.utterance(index.find(key)) for key in ("part", "all", "mp3"))
    assert (part.language, part.text, part.num_samples) == ("en", "hello", 8_000)
    assert (silent.text, silent.speaker, silent.tasks) == (None, "7", ("only:sap+sgc",))
    assert silent.labels == {"gender": "female", "age": "adult"}
    assert (happy.labels, happy.tasks, happy.language) == ({"emotion": "happy"}, ("asr", "ser"), "und")


RAW = {"key": "k", "wav": "a.wav", "txt": "hello"}
BAD_LINES = {
    "no JSON": ('{"key": "k"', "not a JSON object in UTF-8"),
    "a list": ("[1]", "not a JSON object in UTF-8"),
    "no audio": ({"key": "k", "txt": "hello"}, "no text 'wav'"),
    "no such file": ({**RAW, "wav": "gone.wav"}, "audio file can't be opened (FileNotFoundError)"),
    "a folder": ({**RAW, "wav": "."}, "audio file can't be opened (ValueError)"),
    "a device": ({**RAW, "wav": "/dev/zero"}, "audio file can't be opened (ValueError)"),
    "null character": ({**RAW, "wav": "a\0.wav"}, "audio file can't be opened (ValueError)"),
    "hostile key": ({**RAW, "key": "../k"}, "key can't name a member of a shard (empty, absolute, '..' or control)"),
    "half a surrogate pair": ({**RAW, "key": "\ud800"}, "not a JSON object in UTF-8"),
    "times": ({**RAW, "start": 2, "end": 1}, "start and end are not times in order"),
    "endless": ({**RAW, "start": 0, "end": float("inf")}, "start and end are not times in order"),
    "outside": ({**RAW, "start": 0, "end": 3}, "start and end do not lie inside the audio"),
    "label": ({**RAW, "gender": ["f"]}, "gender is not text"),
    "language": ({**RAW, "lang": "the language of love"}, "language is no ISO 639 code"),
    "tag": ({**RAW, "txt": "a <b>"}, "text holds an angle bracket, which delimits tags"),
    "twice": ({**RAW, "key": "good"}, "duplicate key"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_one_named_drop(index_of, tmp_path, line, reason):
    (tmp_path / "a.wav").write_bytes(speech())
    path = tmp_path / "data.list"
    write_list(path, {**RAW, "key": "good"})
    with open(path, "a", encoding="utf-8") as f:
        f.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
    index, drops = index_of("wenet_raw", path, root=str(tmp_path))
    assert index.keys() == ["good"]
    assert reasons(drops) == {reason: 1}
    assert drops.reasons[reason].ids[0].startswith(f"{path}:2")


def test_a_pipe_does_not_hang(index_of, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "a.wav").write_bytes(speech())
    path = write_list(tmp_path / "data.list", RAW, {**RAW, "key": "p", "wav": "pipe.wav"})
    _, drops = index_of("wenet_raw", path, root=str(tmp_path))
    assert reasons(drops) == {"audio file can't be opened (ValueError)": 1}


def damaged_tar(tmp_path, spoil):
    tar = tmp_path / "a.tar"
    members = {}
    for i in range(6):
        members |= {f"u{i}.txt": "hello", f"u{i}.wav": speech(seed=i)}
    write_tar(tar, members)
    content = bytearray(tar.read_bytes())
    with tarfile.open(tar) as opened:
        places = {m.name: (m.offset, m.offset_data, m.size) for m in opened.getmembers()}
    tar.write_bytes(spoil(content, places))
    return write_list(tmp_path / "a.list", tar), tar


def broken_header(content, places):
    content[places["u2.wav"][0] + 5] ^= 1
    return content


def cut_off(content, places):
    return content[: places["u4.wav"][1] + 100]


def no_end(content, places):
    _, data, size = places["u5.wav"]
    return content[: -(-(data + size) // 512) * 512]


NO_END = "the tar has no end mark: what followed is missing"
DAMAGE = {
    "a broken header": (broken_header, "0145", {"damaged part of a tar": 1, "beside a damaged part of the tar": 2}),
    "cut off": (cut_off, "0123", {"member .wav can't be read: the tar ends inside it": 1, NO_END: 1}),
    "no end blocks": (no_end, "012345", {NO_END: 1}),
}


@pytest.mark.parametrize(("spoil", "kept", "lost"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_tar_gives_what_is_whole_and_names_the_rest(index_of, tmp_path, spoil, kept, lost):
    path, tar = damaged_tar(tmp_path, spoil)
    index, drops = index_of("wenet_shard", path)
    assert index.keys() == [f"u{i}" for i in kept]
    assert reasons(drops) == lost
    assert all(name.startswith(f"{tar}: ") for reason in drops.reasons.values() for name in reason.ids)


def link(name, kind, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE = {
    "symbolic link": ([("x.txt", "hi"), (link("x.wav", tarfile.SYMTYPE, "/etc/passwd"), b"")], "link or a device"),
    "hard link": ([("x.txt", "hi"), (link("x.wav", tarfile.LNKTYPE, "good.wav"), b"")], "link or a device"),
    "device": ([("x.txt", "hi"), (link("x.wav", tarfile.CHRTYPE, ""), b"")], "link or a device"),
    "upwards": ([("../x.txt", "hi"), ("../x.wav", speech())], "can't be a key"),
    "absolute": ([("/x.txt", "hi"), ("/x.wav", speech())], "can't be a key"),
    "no suffix": ([("x", speech())], "no suffix"),
    "dot in a folder": ([("a.b/x", speech())], "no suffix"),
    "twice": ([("x.txt", "hi"), ("x.txt", "ho"), ("x.wav", speech())], "two members .txt"),
    "two audios": ([("x.txt", "hi"), ("x.wav", speech()), ("x.flac", speech(audio_format="FLAC"))], "several audio"),
    "no audio": ([("x.txt", "hi")], "no audio member"),
    "no text": ([("x.wav", speech())], "no member .txt"),
    "not UTF-8": ([("x.txt", b"\xff"), ("x.wav", speech())], "not UTF-8"),
    "huge text": ([("x.txt", "a" * 2_000_000), ("x.wav", speech())], "more than 1048576 bytes"),
}


@pytest.mark.parametrize(("members", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_members_are_dropped_and_nothing_is_written(index_of, tmp_path, members, reason):
    good = [("good.txt", "hello"), ("good.wav", speech())]
    tar = write_tar(tmp_path / "a.tar", [*good, *members])
    before = sorted(tmp_path.rglob("*"))
    index, drops = index_of("wenet_shard", write_list(tmp_path / "a.list", tar))
    assert index.keys() == ["good"]
    ((found, count),) = reasons(drops).items()
    assert reason in found and count == 1
    outside = set(tmp_path.rglob("*")) - set(before) - {index.folder, *index.folder.rglob("*")}
    assert outside == {tmp_path / "a.list"}


def test_a_folder_entry_and_a_leading_dot_are_no_matter(index_of, tmp_path):
    folder = tarfile.TarInfo("./a")
    folder.type = tarfile.DIRTYPE
    tar = write_tar(tmp_path / "a.tar", [(folder, b""), ("./a/x.txt", "hello"), ("./a/x.wav", speech())])
    index, drops = index_of("wenet_shard", write_list(tmp_path / "a.list", tar))
    assert index.keys() == ["a/x"] and drops.read == 1


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b" + bytes(600), bytes(10_240), b"no tar" * 500])
def test_a_file_that_is_no_tar_is_named(index_of, tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tar: holds no whole utterance; unpack it"):
        index_of("wenet_shard", write_list(tmp_path / "a.list", tmp_path / "a.tar"))


def test_a_missing_tar_is_named(index_of, tmp_path):
    with pytest.raises(ValueError, match=r"a\.list:1: this tar can't be opened \(.*gone\.tar'\); correct the list"):
        index_of("wenet_shard", write_list(tmp_path / "a.list", tmp_path / "gone.tar"))


def bomb():
    """FLAC of a second whose header declares 2^36 - 1 samples."""
    data = bytearray(speech(audio_format="FLAC"))
    fields = int.from_bytes(data[18:26], "big") | (1 << 36) - 1
    data[18:26] = fields.to_bytes(8, "big")
    return bytes(data)


def nan():
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(16_000, np.nan), 16_000, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def silence_bomb():
    """Minutes of nothing in some kilobytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(16_000 * 300, dtype=np.int16), 16_000, format="FLAC")
    return buffer.getvalue()


def slow():
    data = bytearray(speech())
    data[24:28] = (1).to_bytes(4, "little")
    return bytes(data)


AUDIO = {
    "a header that declares too much": (bomb, "unreadable_audio"),
    "samples that are no numbers": (nan, "unreadable_audio"),
    "minutes of silence": (silence_bomb, "longer than 30.0 s"),
    "no audio": (lambda: b"RIFF", "unreadable_audio"),
    "a rate of 1 Hz": (slow, "unreadable_audio"),
    "half a file": (lambda: speech(audio_format="FLAC")[:9_000], "unreadable_audio"),
}


@pytest.mark.parametrize(("make", "reason"), AUDIO.values(), ids=AUDIO)
def test_bad_audio_is_dropped(index_of, tmp_path, make, reason):
    members = {"good.txt": "hello", "good.wav": speech(), "x.txt": "hello", "x.flac": make()}
    tar = write_tar(tmp_path / "a.tar", members)
    index, drops = index_of("wenet_shard", write_list(tmp_path / "a.list", tar), decode=True)
    assert index.keys() == ["good"]
    assert reasons(drops) == {reason: 1}
