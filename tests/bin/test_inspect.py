import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from osum import config
from osum.bin.inspect import InspectConfig, main
from osum.data.store.index import Index
from osum.text.configs import TemplateConfig


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


@pytest.fixture
def experiment(sulm_record, tokenizer_dir, tmp_path):
    """An experiment whose model heard the speech before a prompt of its own, and knows no task but recognition."""
    prompts = {"asr": {"zh": ["早上好", "再写。"], "en": ["Write."]}}
    record = replace(sulm_record, prompts=prompts, template=TemplateConfig(speech_first=True))
    (tmp_path / "exp/sulm").mkdir(parents=True)
    config.save(record, tmp_path / "exp/sulm/model.yaml")
    shutil.copytree(tokenizer_dir, tmp_path / "exp/sulm/tokenizer")
    return tmp_path / "exp"


def test_a_model_decides_prompts_template_and_tasks(shards_dir, experiment, tmp_path, capsys):
    argv = [f"--index_dir={shards_dir / 'train'}", f"--out_dir={tmp_path}", "--key=train-04"]
    main([*argv, f"--model_dir={experiment}"])
    shown = capsys.readouterr().out
    assert "\nasr\n  prompt: 早上好 (1 of 2)\n  target: 早上好\n" in shown
    assert re.search(r"\n  tokens: \[speech x \d+\] 早 上 好 => 早 上 好 <\|endoftext\|>\n", shown)
    assert shown.endswith("\nsgc: not a task of this model; it knows asr\n")
    main([*argv, f"--model_dir={experiment / 'sulm'}"])
    assert capsys.readouterr().out == shown


def test_options_that_exclude_each_other_are_refused(shards_dir, tokenizer_dir):
    with pytest.raises(ValueError, match="leave out prompts_dir and tokenizer_dir"):
        InspectConfig(shards_dir, key="a", model_dir=tokenizer_dir, tokenizer_dir=tokenizer_dir)
    with pytest.raises(ValueError, match="give its key"):
        InspectConfig(shards_dir, play=True)


def test_an_utterance_is_played_by_what_is_on_the_path(shards_dir, tmp_path, capsys, monkeypatch):
    argv = [f"--index_dir={shards_dir / 'train'}", f"--out_dir={tmp_path}", "--key=train-04", "--play=true"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match=r"train-04\.wav: can't be played here: there is none of aplay"):
        main(argv)
    assert "\nsgc\n  prompt: " in capsys.readouterr().out and (tmp_path / "train-04.wav").is_file()
    (tmp_path / "paplay").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/played\n')
    (tmp_path / "paplay").chmod(0o755)
    main(argv)
    assert (tmp_path / "played").read_text() == f"{tmp_path}/train-04.wav\n"
