import hashlib
import tarfile

import pytest

from osum.data.shards import ShardWriter, check_key, verify
from osum.types import Utterance


def write(path, keys):
    with ShardWriter(path, "wav") as writer:
        return [writer.add(Utterance(k, "c", "zh", "你好", 5), f"audio of {k}".encode()) for k in keys]


def test_offsets_point_at_the_bytes(tmp_path):
    # A name of over 100 bytes costs an extra header block in the tar.
    placed = write(tmp_path / "a.tar", ["x", "deep/er/k.1", "长" * 60])
    data = (tmp_path / "a.tar").read_bytes()
    for p in placed:
        audio = data[p.audio_offset : p.audio_offset + p.audio_size]
        assert audio.decode() == f"audio of {p.utterance.key}"
        assert data[p.json_offset : p.json_offset + p.json_size].startswith(b'{"corpus": "c"')
    verify(tmp_path / "a.tar", placed)


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


def test_a_short_tar_fails_verification(tmp_path):
    placed = write(tmp_path / "a.tar", ["x", "y"])
    with pytest.raises(ValueError, match=r"a\.tar: 6 members instead of 3"):
        verify(tmp_path / "a.tar", placed[:1])
    write(tmp_path / "a.tar", ["x", "z"])
    with pytest.raises(ValueError, match=r"a\.tar: z\.json lies at"):
        verify(tmp_path / "a.tar", placed)


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/..", "a/./b", "a//b", "a/", "a\nb", "a\0b", "a\\b"])
def test_hostile_keys_are_refused(key):
    with pytest.raises(ValueError, match="rename it"):
        check_key(key)


@pytest.mark.parametrize("key", ["a", "a.b", "a/b", "..a", "说话 1", "a..b"])
def test_ordinary_keys_pass(key):
    assert check_key(key) == key
