import errno
import os
import sys

import fsspec
import numpy as np
import pytest

from osum import tasks
from osum.data.examples import Item, make_example
from osum.data.load.loader import PackDataset, load_packs
from osum.data.load.pack import Pack
from osum.data.store import storage as storage_module
from osum.data.store.storage import StalledError, Storage, is_remote, place
from osum.text.template import SulmTemplate
from tests.data.foreign import open_below, reasons, speech, write_list, write_tar
from tests.data.web_server import RangeServer


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp (the extra remote)")
    (tmp_path / "web").mkdir()
    with RangeServer(tmp_path / "web") as serving:
        yield serving


@pytest.fixture
def storage():
    """Attempts that follow each other at once."""
    return Storage(attempts=3, backoff_s=0.01, timeout_s=1.0)


def test_addresses_and_paths_are_told_apart(tmp_path):
    assert is_remote("s3://bucket/a.tar") and not is_remote("/data/a.tar")
    assert place(tmp_path, "a.tar") == str(tmp_path / "a.tar")
    assert place(tmp_path, "/data/a.tar") == "/data/a.tar" and place(tmp_path, "s3://b/a") == "s3://b/a"


def test_a_range_of_a_file_ends_where_the_file_ends(tmp_path, storage):
    path = str(tmp_path / "a")
    (tmp_path / "a").write_bytes(bytes(range(100)))
    assert storage.size(path) == 100
    assert storage.read(path, 10, 5) == bytes(range(10, 15))
    assert storage.read(path, 95, 2**32) == bytes(range(95, 100))
    assert storage.read(path, 2**63, 5) == b""
    with storage.open(path, 20, 30) as part:
        assert part.read(5) == bytes(range(20, 25)) and part.seek(-2, os.SEEK_END) == 28
        assert part.read() == bytes(range(48, 50)) and part.seek(3) == 3 and part.read(1) == b"\x17"


def failing(monkeypatch, times, number=errno.EIO):
    """Let reading fail so often, as a network file system does; return the descriptors that were read."""
    read, asked = os.pread, []

    def pread(descriptor, *where):
        asked.append(descriptor)
        if len(asked) <= times:
            raise OSError(number, os.strerror(number))
        return read(descriptor, *where)

    monkeypatch.setattr(os, "pread", pread)
    return asked


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_fault_of_the_file_system_that_passes_is_waited_for(tmp_path, storage, monkeypatch, number):
    (tmp_path / "a").write_bytes(b"content")
    storage.read(str(tmp_path / "a"), 0, 1)
    (tmp_path / "b").write_bytes(b"renewed")
    os.replace(tmp_path / "b", tmp_path / "a")
    asked = failing(monkeypatch, 2, number)
    assert storage.read(str(tmp_path / "a"), 0, 7) == b"renewed"  # a stale file has to be opened again
    assert len(asked) == 3 and len(storage._files) == 1


def test_a_file_system_that_stays_away_is_named(tmp_path, storage, monkeypatch):
    (tmp_path / "a").write_bytes(b"content")
    failing(monkeypatch, 20)
    with pytest.raises(StalledError, match=r"/a: no answer in 3 attempts \(.*is the file system reachable\?"):
        storage.read(str(tmp_path / "a"), 0, 7)


def test_what_a_file_system_will_never_allow_is_not_tried_again(tmp_path, storage, monkeypatch):
    (tmp_path / "a").write_bytes(b"content")
    asked = failing(monkeypatch, 20, errno.EACCES)
    with pytest.raises(PermissionError):
        storage.read(str(tmp_path / "a"), 0, 7)
    assert len(asked) == 1


@pytest.mark.parametrize("times", ["whole", "part"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of libsndfile's callback
def test_an_utterance_of_a_file_system_that_stays_away_is_dropped(
    index_of, tmp_path, task_objects, prompts, monkeypatch, times
):
    (tmp_path / "a.wav").write_bytes(speech(32_000))
    line = {"key": "a", "wav": str(tmp_path / "a.wav"), "txt": "hello"}
    part = {"start": 0.5, "end": 1.5} if times == "part" else {}
    index, _ = index_of("wenet_raw", write_list(tmp_path / "a.list", line | part), language="en")
    monkeypatch.setattr(index, "_storage", Storage(attempts=2, backoff_s=0.01))
    read = os.pread

    def pread(descriptor, *where):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".wav"):
            raise OSError(errno.EIO, "fails")
        return read(descriptor, *where)

    monkeypatch.setattr(os, "pread", pread)
    dropped = make_example(index, Item(0, "asr", 0), task_objects, prompts)
    assert dropped.key == "a" and dropped.reason.startswith("stalled: ") and "a.wav: no answer" in dropped.reason


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_what_is_no_file_is_refused(storage, path):
    with pytest.raises(ValueError, match="not a regular file"):
        storage.size(path)


def test_ranges_of_a_web_server(server, storage):
    (server.folder / "a").write_bytes(bytes(range(100)))
    path = f"{server.address}/a"
    assert storage.size(path) == 100
    assert storage.read(path, 10, 5) == bytes(range(10, 15)) and storage.read(path, 98, 5) == bytes(range(98, 100))
    assert server.served == [("a", 10, 15), ("a", 98, 100)]


@pytest.mark.parametrize("fault", ["stall", "hang up", 500, 503, 429])
def test_a_fault_that_passes_is_waited_for(server, storage, fault):
    (server.folder / "a").write_bytes(b"content")
    server.faults = [fault, fault]
    assert storage.read(f"{server.address}/a", 0, 7) == b"content"


def test_a_store_that_stays_silent_is_named(server, storage):
    (server.folder / "a").write_bytes(b"content")
    server.faults = ["hang up"] * 20
    with pytest.raises(StalledError, match=r"http://.*/a: no answer in 3 attempts \(.*is the store reachable\?"):
        storage.read(f"{server.address}/a", 0, 7)


def test_the_size_of_a_file_is_waited_for_too(server, storage):
    (server.folder / "a").write_bytes(b"content")
    server.faults = [500] * 2  # HEAD and GET of the first attempt
    assert storage.size(f"{server.address}/a") == 7


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (404, FileNotFoundError, "no such file in the store"),
        (403, PermissionError, "is access allowed"),
        ("whole", ValueError, "sends whole files"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(server, storage, fault, error, message):
    (server.folder / "a").write_bytes(b"content")
    server.faults = [fault]
    with pytest.raises(error, match=message):
        storage.read(f"{server.address}/a", 0, 3)


def test_a_range_beyond_the_end_is_an_error_of_the_data(server, storage):
    (server.folder / "a").write_bytes(b"content")
    with pytest.raises(ValueError, match="ends before this range"):
        storage.read(f"{server.address}/a", 10, 3)


@pytest.mark.parametrize("address", ["gopher://x/a", "simplecache::http://x/a", "ssh://x/a", "://a"])
def test_addresses_that_are_not_read_are_named(storage, address):
    with pytest.raises(ValueError, match=rf"{address}: not read from .*, only from .*, http, .*; copy the file"):
        storage.size(address)


def test_a_store_without_its_package_is_named(storage, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ValueError, match=r"gs://bucket/a: can't be read \(.*gcsfs .*install that package"):
        storage.size("gs://bucket/a")


def test_stores_that_are_not_asynchronous(storage):
    fsspec.filesystem("memory").pipe("/osum-test/a", bytes(range(10)))
    assert storage.size("memory://osum-test/a") == 10
    assert storage.read("memory://osum-test/a", 4, 3) == bytes([4, 5, 6])
    with pytest.raises(FileNotFoundError, match="memory://osum-test/b: no such file in the store"):
        storage.size("memory://osum-test/b")


def test_files_are_closed_with_their_storage(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    storage = Storage()
    assert storage.read(str(tmp_path / "a"), 0, 3) == b"con"
    assert open_below(tmp_path) == [str(tmp_path / "a")]
    del storage
    assert open_below(tmp_path) == []


def test_workers_read_from_a_web_server(server, index_of, tmp_path, task_objects, prompts, tokenizer):
    members = {}
    for i in range(6):
        members |= {f"u{i}.txt": "hello", f"u{i}.wav": speech(8_000 + i, seed=i)}
    write_tar(server.folder / "a.tar", members)
    index, _ = index_of("wenet_shard", write_list(tmp_path / "a.list", f"{server.address}/a.tar"), language="en")
    dataset = PackDataset(index, task_objects, prompts, SulmTemplate(tokenizer))
    packs = [Pack(0, [Item(row, "asr", 0), Item(row + 1, "asr", 0)]) for row in (0, 2, 4)]
    loaded = list(load_packs(dataset, packs, num_workers=2))
    assert [pack.batch.keys for pack in loaded] == [["u0", "u1"], ["u2", "u3"], ["u4", "u5"]]
    assert [pack.batch.audio_lens.tolist() for pack in loaded] == [[8_000, 8_001], [8_002, 8_003], [8_004, 8_005]]


def test_tars_of_a_web_server_are_indexed_and_read(server, index_of, tmp_path):
    members = {}
    for i in range(4):
        members |= {f"u{i}.txt": "hello", f"u{i}.wav": speech(seed=i)}
    write_tar(server.folder / "a.tar", members)
    path = write_list(tmp_path / "a.list", "a.tar")
    index, drops = index_of("wenet_shard", path, root=server.address)
    assert drops.used == 4 and index.header.shards == [f"{server.address}/a.tar"]
    local, _ = index_of("wenet_shard", path, root=str(server.folder))
    server.served.clear()
    for row in range(4):
        np.testing.assert_array_equal(index.audio(row), local.audio(row))
    spans = [(int(at["audio_offset"]), int(at["audio_offset"] + at["audio_size"])) for at in index.rows]
    assert server.served == [("a.tar", start, end) for start, end in spans]  # one range for each utterance


def test_a_stalled_read_drops_the_utterance_by_name(server, index_of, tmp_path, monkeypatch):
    write_tar(server.folder / "a.tar", {"u.txt": "hello", "u.wav": speech()})
    index, _ = index_of("wenet_shard", write_list(tmp_path / "a.list", f"{server.address}/a.tar"))
    monkeypatch.setattr(storage_module.time, "sleep", lambda _: None)
    server.faults = ["hang up"] * 20
    dropped = make_example(index, Item(0, "asr", 0), {"asr": tasks.get("asr")}, {"asr": {"en": ("write",)}})
    assert dropped.key == "u" and dropped.reason.startswith(f"stalled: {server.address}/a.tar: no answer in 4 attempts")


def test_single_files_of_a_web_server(server, index_of, tmp_path):
    (server.folder / "a.wav").write_bytes(speech())
    rows = [
        {"key": "a", "wav": f"{server.address}/a.wav", "txt": "hello"},
        {"key": "part", "wav": f"{server.address}/a.wav", "txt": "hello", "start": 0.25, "end": 0.5},
        {"key": "gone", "wav": f"{server.address}/gone.wav", "txt": "hello"},
    ]
    index, drops = index_of("wenet_raw", write_list(tmp_path / "a.list", *rows))
    assert reasons(drops) == {"audio file can't be opened (FileNotFoundError)": 1}
    np.testing.assert_array_equal(index.audio(1), index.audio(0)[4_000:8_000])
