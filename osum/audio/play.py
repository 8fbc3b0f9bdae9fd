"""Play a file through whatever player the machine has."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PLAYERS = (
    ("aplay", "-q"),
    ("paplay",),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("play", "-q"),
    ("afplay",),
)
"""Commands of ALSA, PulseAudio, FFmpeg, SoX and macOS that take a file as last argument."""


def play(path: Path) -> str:
    """Play an audio file to its end with the first player that can, and return its name.

    OSError saying what was tried if none can.
    """
    failed = []
    for command in PLAYERS:
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run([*command, str(path)], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode == 0:
            return command[0]
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        failed.append(f"{command[0]} ended with status {done.returncode} ({said})")
    tried = "; ".join(failed) or f"there is none of {', '.join(name for name, *_ in PLAYERS)}"
    raise OSError(f"{path}: can't be played here: {tried}. Install a player, or copy the file to where there is one")
