from pathlib import Path

import pytest

from osum.audio.play import play


@pytest.fixture
def player(tmp_path, monkeypatch):
    """Return a function that puts a player on the path, which notes what it is called with; there is no other one."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def make(name, status=0):
        path = programs / name
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.called\necho no device >&2\nexit {status}\n')
        path.chmod(0o755)
        return tmp_path / f"{name}.called"

    return make


def test_the_first_player_that_is_there_plays(player):
    called = player("ffplay")
    other = player("afplay")
    assert play(Path("a b.wav")) == "ffplay"
    assert called.read_text() == "-nodisp -autoexit -loglevel error a b.wav\n" and not other.exists()


def test_one_that_fails_leaves_it_to_the_next(player):
    player("aplay", status=1)
    player("paplay")
    assert play(Path("a.wav")) == "paplay"


def test_without_a_player_the_message_says_so(player):
    with pytest.raises(OSError, match=r"a\.wav: can't be played here: there is none of aplay, paplay, ffplay"):
        play(Path("a.wav"))
    player("aplay", status=3)
    with pytest.raises(OSError, match=r"aplay ended with status 3 \(no device\)"):
        play(Path("a.wav"))
