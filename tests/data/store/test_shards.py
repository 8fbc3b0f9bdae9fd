import hashlib
import json
import tarfile

import pytest

from osum.data.store.shards import ShardWriter, check_key, read_placed, verify
from osum.types import Utterance
from tests.data.foreign import write_tar


def write(path, keys):
    with ShardWriter(path, "wav") as writer:
        return [writer.add(Utterance(k, "c", "zh", "你好", 5), f"audio of {k}".encode()) for k in keys]


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 1]))


def test_offsets_point_at_the_bytes(tmp_path):
    # A name of over 100 bytes costs an extra header block in the tar.
    placed = write(tmp_path / "a.tar", ["x", "deep/er/k.1", "长" * 60])
    data = (tmp_path / "a.tar").read_bytes()
    for p in placed:
        audio = data[p.audio_offset : p.audio_offset + p.audio_size]
        assert audio.decode() == f"audio of {p.utterance.key}"
        assert data[p.json_offset : p.json_offset + p.json_size].startswith(b'{"corpus": "c"')
    assert read_placed(tmp_path / "a.tar") == placed


def test_names_sizes_and_end_blocks(tmp_path):
    write(tmp_path / "a.tar", ["b/k.1"])
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == ["b/k.1.wav", "b/k.1.txt", "b/k.1.json"]
        assert tar.getmembers()[1].size == len("你好".encode())
    assert (tmp_path / "a.tar").read_bytes()[-1024:] == b"\0" * 1024


def test_the_same_utterances_give_the_same_bytes(tmp_path):
    digests = set()
    for name in ("a.tar", "b.tar"):
        write(tmp_path / name, ["x", "y"])
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_hash_is_that_of_the_file(tmp_path):
    with ShardWriter(tmp_path / "a.tar", "wav") as writer:
        writer.add(Utterance("x", "c", "zh", "你好", 5), b"audio")
    content = (tmp_path / "a.tar").read_bytes()
    assert writer.written.sha256 == hashlib.sha256(content).hexdigest()
    assert writer.written.num_bytes == len(content) == 10_240
    assert [m.name for m in writer.written.members] == ["x.wav", "x.txt", "x.json"]


@pytest.mark.parametrize("suffix", ["wav", "txt", "json"])
def test_a_flipped_bit_is_found_and_named(tmp_path, suffix):
    path = tmp_path / "a.tar"
    with ShardWriter(path, "wav") as writer:
        for key in ("x", "y"):
            writer.add(Utterance(key, "c", "zh", "你好", 5), b"audio")
    written = writer.written
    verify(path, written.num_bytes, written.sha256, written.members)
    member = next(m for m in written.members if m.name == f"y.{suffix}")
    flip(path, member.offset + member.size - 1)
    with pytest.raises(ValueError, match=rf"a\.tar: does not hold what was written to it \(first in y\.{suffix}\)"):
        verify(path, written.num_bytes, written.sha256, written.members)


def test_damage_outside_of_members_and_a_wrong_size_are_found(tmp_path):
    path = tmp_path / "a.tar"
    with ShardWriter(path, "wav") as writer:
        writer.add(Utterance("x", "c", "zh", "你好", 5), b"audio")
    written = writer.written
    flip(path, 600)
    with pytest.raises(ValueError, match=r"a\.tar: does not hold .* \(outside of its members\)"):
        verify(path, written.num_bytes, written.sha256, written.members)
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"a\.tar: has 9728 bytes, not 10240"):
        verify(path, written.num_bytes, written.sha256)


@pytest.mark.parametrize(
    ("names", "about", "problem"),
    [
        (["x.wav", "x.txt"], {}, "x.wav is not followed by"),
        (["x.wav", "y.txt", "x.json"], {}, "x.wav is not followed by"),
        (["x.wav", "x.txt", "x.json"], {"key": "y"}, "x.json does not belong to"),
        (["x.wav", "x.txt", "x.json"], {"text": "other"}, "x.json does not belong to"),
        (["x.wav", "x.txt", "x.json"], {"num_samples": "5"}, "of a wrong type"),
    ],
)
def test_a_tar_that_is_not_ours_is_named(tmp_path, names, about, problem):
    known = Utterance("x", "c", "en", "hi", 5).to_json() | about
    path = tmp_path / "a.tar"
    write_tar(path, {name: json.dumps(known) if name.endswith("json") else "hi" for name in names})
    with pytest.raises(ValueError, match=rf"a\.tar: .*{problem}"):
        read_placed(path)


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/..", "a/./b", "a//b", "a/", "a\nb", "a\0b", "a\\b"])
def test_hostile_keys_are_refused(key):
    with pytest.raises(ValueError, match="rename it"):
        check_key(key)


@pytest.mark.parametrize("key", ["a", "a.b", "a/b", "..a", "说话 1", "a..b"])
def test_ordinary_keys_pass(key):
    assert check_key(key) == key
