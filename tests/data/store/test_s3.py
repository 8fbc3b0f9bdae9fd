"""Data in an S3-compatible store, read by ranges: moto's server on this machine, through s3fs."""

import urllib.request
from contextlib import ExitStack

import numpy as np
import pytest

from osum.data.load.loader import PackDataset, TrainLoader
from osum.data.plan import lengths
from osum.data.plan.config import PlanConfig
from osum.data.store.storage import StalledError, Storage
from osum.text.template import SulmTemplate
from tests.data.foreign import speech, write_list, write_tar

BUCKET = "s3://speech"
CFG = PlanConfig(virtual_ranks=2, max_tokens=200, max_audio_s=2.0)


@pytest.fixture
def address(monkeypatch):
    """Where the store is; its clients know no other one, and no credentials but invented ones."""
    pytest.importorskip("s3fs", reason="fsspec reads s3 with s3fs (the extra s3)")
    server_module = pytest.importorskip("moto.server", reason="the tests serve s3 with moto (the extra dev)")
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    with ExitStack() as stack:
        stack.callback(server.stop)
        settings = {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "invented", "SECRET_ACCESS_KEY": "invented"}
        settings |= {"CONFIG_FILE": "/dev/null", "SHARED_CREDENTIALS_FILE": "/dev/null", "DEFAULT_REGION": "us-east-1"}
        for name, value in {**settings, "EC2_METADATA_DISABLED": "true"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield url


@pytest.fixture
def store(address):
    """A client of the store with an empty bucket; those that the test makes go with it."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # they know the server of the test before
    client = s3fs.S3FileSystem()
    client.mkdir(BUCKET)
    yield client
    post(address, "reset")
    post(address, "reset-auth", b"inf")
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def storage():
    """Attempts that follow each other at once."""
    return Storage(attempts=2, backoff_s=0.01, timeout_s=20.0)


def post(address, what, body=b""):
    plain = {"Content-Type": "application/octet-stream"}  # else it is taken for a form
    request = urllib.request.Request(f"{address}/moto-api/{what}", data=body, headers=plain)
    urllib.request.urlopen(request, timeout=20).close()


def test_ranges_and_sizes(store, storage):
    store.pipe(f"{BUCKET}/a", bytes(range(100)))
    assert storage.size(f"{BUCKET}/a") == 100
    assert storage.read(f"{BUCKET}/a", 10, 5) == bytes(range(10, 15))
    assert storage.read(f"{BUCKET}/a", 98, 5) == bytes(range(98, 100))
    with pytest.raises(ValueError, match=f"{BUCKET}/a: .*ends before this range"):
        storage.read(f"{BUCKET}/a", 200, 3)


@pytest.mark.parametrize("path", [f"{BUCKET}/gone", "s3://no-bucket/a"])
def test_what_is_not_there_is_named(store, storage, path):
    for ask in (lambda: storage.size(path), lambda: storage.read(path, 0, 3)):
        with pytest.raises(FileNotFoundError, match=f"{path}: no such file in the store"):
            ask()


def test_what_is_denied_is_named(store, storage, address):
    store.pipe(f"{BUCKET}/a", b"content")
    post(address, "reset-auth", b"0")  # from now on the invented key is looked up
    for ask in (lambda: storage.size(f"{BUCKET}/a"), lambda: storage.read(f"{BUCKET}/a", 0, 3)):
        with pytest.raises(PermissionError, match=f"{BUCKET}/a: .*; is access allowed"):
            ask()


def test_missing_credentials_are_named(store, storage, monkeypatch):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    store.clear_instance_cache()
    with pytest.raises(PermissionError, match=f"{BUCKET}/a: .*credentials.*; is access allowed"):
        storage.read(f"{BUCKET}/a", 0, 3)


def test_a_store_that_is_not_there_is_named(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # nobody listens
    store.clear_instance_cache()
    with pytest.raises(StalledError, match=rf"{BUCKET}/a: no answer in 2 attempts \(.*is the store reachable"):
        Storage(attempts=2, backoff_s=0.01, timeout_s=2.0).read(f"{BUCKET}/a", 0, 3)


@pytest.mark.filterwarnings("ignore:This DataLoader")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_reads_from_the_store_what_it_reads_from_a_disk(
    store, index_of, tmp_path, task_objects, prompts, tokenizer, num_workers
):
    tars = []
    for shard in range(2):
        members = {}
        for i in range(8):
            members |= {f"u{shard}{i}.txt": "hello", f"u{shard}{i}.wav": speech(6_000 + 500 * i, seed=8 * shard + i)}
        tars.append(write_tar(tmp_path / f"{shard}.tar", members))
        store.pipe(f"{BUCKET}/{shard}.tar", tars[-1].read_bytes())
    path = write_list(tmp_path / "shards.list", *(tar.name for tar in tars))
    streams, template = [], SulmTemplate(tokenizer)
    for root in (BUCKET, str(tmp_path)):
        index, drops = index_of("wenet_shard", path, root=root, language="en")
        assert drops.used == 16 and index.header.shards == [f"{root}/0.tar", f"{root}/1.tar"]
        dataset = PackDataset(index, task_objects, prompts, template)
        table = lengths.build(index, task_objects, prompts, template)
        steps = TrainLoader(dataset, table, CFG, seed=1, num_workers=num_workers).steps()
        epoch = [next(steps)]
        epoch += [next(steps) for _ in range(epoch[0].steps_in_epoch - 1)]
        assert not any(step.dropped for step in epoch)
        streams.append([batch for step in epoch for batch in step.batches])
    remote, local = streams
    assert [b.keys for b in remote] == [b.keys for b in local]
    assert sorted(key for b in remote for key in b.keys if key) == [f"u{s}{i}" for s in range(2) for i in range(8)]
    for one, other in zip(remote, local, strict=True):
        np.testing.assert_array_equal(one.audio.numpy(), other.audio.numpy())
