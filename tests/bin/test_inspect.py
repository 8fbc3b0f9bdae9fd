import numpy as np
import pytest
import soundfile

from osum.bin.inspect import main
from osum.data.index import Index


def test_an_index_is_shown_as_text_and_picture(shards_dir, tmp_path, capsys):
    main([f"--index_dir={shards_dir / 'train'}", f"--out_dir={tmp_path}"])
    shown = capsys.readouterr().out
    assert "train: 24 utterances" in shown
    assert "sgc           24" in shown and "female           8  33.3 %" in shown
    assert (tmp_path / "train.lengths.png").read_bytes().startswith(b"\x89PNG")


def test_an_utterance_is_shown_in_each_task_and_written_as_wav(shards_dir, tokenizer_dir, tmp_path, capsys):
    argv = [f"--index_dir={shards_dir / 'train'}", f"--out_dir={tmp_path}", f"--tokenizer_dir={tokenizer_dir}"]
    main([*argv, "--key=train-04", "--tasks=[asr,sgc,ser]"])
    shown = capsys.readouterr().out
    assert "\nasr\n  prompt: 请把这段语音转写成文字。 (1 of " in shown and "target: 早上好<female>" in shown
    assert "[speech x " in shown and "=> 早 上 好 <female> <|endoftext|>" in shown
    assert shown.endswith("\nser: no_target\n")
    index = Index.open(shards_dir / "train")
    samples, rate_hz = soundfile.read(tmp_path / "train-04.wav", dtype="float32")
    assert rate_hz == 16_000
    np.testing.assert_array_equal(samples, index.audio(index.find("train-04")))


def test_a_key_that_is_not_there_is_named(shards_dir, tmp_path):
    with pytest.raises(ValueError, match="no utterance 'nobody' among 24"):
        main([f"--index_dir={shards_dir / 'train'}", f"--out_dir={tmp_path}", "--key=nobody"])
