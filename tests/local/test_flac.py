import errno

import flac
import numpy as np
import pytest
import soundfile


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_file_holds_what_was_written(tmp_path, subtype):
    audio = np.array([0.0, 0.5, -0.25, 0.125], dtype=np.float32)
    flac.write(tmp_path / "a.flac", audio, 8000, subtype)
    assert soundfile.info(tmp_path / "a.flac").subtype == subtype
    read, rate_hz = soundfile.read(tmp_path / "a.flac", dtype="float32")
    assert rate_hz == 8000
    np.testing.assert_array_equal(read, audio)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(flac.Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"a\.flac: No space left on device; free some space"):
        flac.write(tmp_path / "a.flac", np.zeros(400, dtype=np.float32), 16000)
