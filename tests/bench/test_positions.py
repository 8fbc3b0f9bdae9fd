"""The counts of what the options of the token sequence save."""

import sys
from pathlib import Path


def test_what_is_printed_adds_up(shards_dir, tokenizer_dir, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])  # as for a script of this folder
    import positions

    options = ["--tokenizer", str(tokenizer_dir), "--shards_dir", str(shards_dir / "train"), "--tasks", "[asr,sgc]"]
    monkeypatch.setattr("sys.argv", ["positions.py", *options])
    positions.main()
    first, asr, sgc, added, prompts = capsys.readouterr().out.splitlines()
    assert first.startswith("utterances=24 positions=")
    before, after = (float(word.split("=")[1]) for word in asr.split()[1:])
    assert asr.startswith("task=asr") and before == after
    assert sgc.startswith("task=sgc") and added.startswith("added_tokens saves ")
    share, repeated = (float(word.rstrip("%")) for word in prompts.split() if word.endswith("%"))
    assert 0 < repeated < share < 100, "24 utterances in two packs repeat some of a dozen prompts"
