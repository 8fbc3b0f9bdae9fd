"""Processes of a job: all meet, or those that are missing are named; when one fails, none waits for it."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from osum import dist, rendezvous
from osum.rendezvous import Meeting


@pytest.fixture
def meetings(unused_port):
    """How three ranks see their job."""
    return [Meeting("127.0.0.1", unused_port, rank, 3, serves=rank == 0) for rank in range(3)]


@pytest.fixture
def quick(monkeypatch):
    """Say who is missing, and look for failures, several times a second; 2 s to end by oneself."""
    monkeypatch.setattr(rendezvous, "SAY_EVERY_S", 0.3)
    monkeypatch.setattr(rendezvous, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(rendezvous, "LINGER_S", 2.0)
    monkeypatch.setattr(rendezvous, "GRACE_S", 2.0)


def test_all_that_come_meet(meetings):
    with ThreadPoolExecutor(3) as pool:
        stores = list(pool.map(lambda meeting: meeting.join(60.0), meetings))
    stores[2].set("hello", "there")
    assert stores[0].get("hello") == stores[1].get("hello") == b"there"


def test_the_missing_ones_are_named_while_one_waits_and_at_the_end(meetings, quick, caplog, monkeypatch):
    monkeypatch.setattr(rendezvous.logger.parent, "propagate", True)
    caplog.set_level("INFO", "osum")
    wanted = (
        rf"^2 of 3 processes came to 127\.0\.0\.1:{meetings[0].port} in 3 s, missing are the ranks 1; their logs or "
        "machines say why. Start as many processes as WORLD_SIZE says, all with the same MASTER_ADDR and MASTER_PORT$"
    )
    with ThreadPoolExecutor(2) as pool:
        first, last = (pool.submit(meetings[n].join, 3.0) for n in (0, 2))
        with pytest.raises(TimeoutError, match=wanted):
            first.result()
        with pytest.raises((TimeoutError, ConnectionError)):
            last.result()
    assert f"join processes=3 at=127.0.0.1:{meetings[0].port} timeout_s=3" in caplog.messages
    assert "join waits for ranks=1 of=3" in caplog.messages


def test_a_rank_that_finds_nobody_says_so_and_where(meetings, quick):
    where = rf"rank 1 of 3 found nobody at 127\.0\.0\.1:{meetings[1].port} in 1 s; see that rank 0 is running, and that"
    with pytest.raises(TimeoutError, match=where):
        meetings[1].join(1.0)


def test_an_environment_that_tells_half_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ValueError, match="WORLD_SIZE is 2, but MASTER_ADDR and MASTER_PORT do not say"), dist.world():
        pytest.fail("entered")


@pytest.mark.parametrize("failing", [0, 1])
def test_a_rank_in_an_exchange_with_one_that_failed_says_why_in_one_line(fork_ranks, failing):
    def body():
        with dist.world(60.0) as world:
            if world.rank == failing:
                raise ValueError("bad.tar: no audio")
            world.barrier()

    ended = fork_ranks(body)
    assert [status for status, _ in ended] == [1, 1]
    text = ended[1 - failing][1]
    assert f"ERROR rank {1 - failing} ends because rank {failing} failed: bad.tar: no audio [" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("failing", [0, 1])
def test_a_rank_that_waits_ends_when_another_has_failed(fork_ranks, quick, failing):
    def body():
        with dist.world(60.0) as world:
            if world.rank == failing:
                raise ValueError("bad.tar: no audio")
            time.sleep(1000)

    ended = fork_ranks(body)
    assert [status for status, _ in ended] == [1, 1]
    assert re.search(r"ERROR bad\.tar: no audio \[test_rendezvous\.py:\d+\]$", ended[failing][1], re.MULTILINE)
    other = 1 - failing
    assert f"rank {other} ends because rank {failing} failed: bad.tar: no audio" in ended[other][1]


def test_a_rank_that_fails_ends_even_if_the_machine_of_the_first_is_lost(fork_ranks, quick):
    def body():
        with dist.world(60.0) as world:
            world.barrier()
            if world.rank == 0:
                os.kill(os.getpid(), signal.SIGSTOP)  # its connections stay, and nothing answers
            time.sleep(1.0)
            raise ValueError("bad.tar: no audio")

    first, last = fork_ranks(body, limit_s=30.0)
    assert (first[0], last[0]) == (-signal.SIGKILL, 1)
    assert "ERROR bad.tar: no audio [" in last[1]


def test_a_rank_that_has_done_its_work_ends_nobody(fork_ranks, quick):
    def body():
        with dist.world(60.0) as world:
            world.barrier()
            time.sleep(1.5 * world.rank)

    assert [status for status, _ in fork_ranks(body)] == [0, 0]
