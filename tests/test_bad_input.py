"""What users see of bad input in the data stages: a line that names the place and the remedy, or a counted drop."""

import gzip
import importlib
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from osum import outputs
from osum.bin import annotate, shard
from osum.data.store.index import Index

NUM_GOOD = 8
STAGES = ("prepare_labelled", "annotate", "shard")
OUTPUTS = {"prepare_labelled": "manifests/toy", "annotate": "cuts", "shard": "shards"}


def tone(path, rate_hz=16000, channels=1, subtype="PCM_16", seconds=1.0):
    audio = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(rate_hz * seconds)) / rate_hz)
    soundfile.write(path, np.tile(audio[:, None], channels), rate_hz, subtype=subtype)


def add_row(folder, **fields):
    """Append a row to the list: like the others but for the fields."""
    path = folder / "list.jsonl"
    number = len(path.read_text().splitlines()) if path.exists() else 0
    row = {
        "path": "tone.wav",
        "key": f"u{number}",
        "text": f"hello {number}",
        "speaker": f"s{number}",
        "language": "en",
    }
    labels = {"gender": "female", "age": 30, "emotion": "happy", "split": ("train", "test")[number % 2]}
    with open(path, "a") as f:
        f.write(json.dumps({**row, **labels, **fields}) + "\n")


class Recipe:
    """Stages 0 to 2 over a list of a few good rows, all in one folder."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        tone(folder / "tone.wav")
        for _ in range(NUM_GOOD):
            add_row(folder)

    def out(self, stage):
        return self.folder / OUTPUTS[stage]

    def argv(self, stage, **options):
        given = {
            "prepare_labelled": {"lists": f"[{self.folder / 'list.jsonl'}]"},
            "annotate": {
                "manifests_dir": self.folder / "manifests",
                "labels_dir": self.root / "local/labels",
                "tokenizer.vocab_size": 400,
                "tokenizer.max_time_s": 2,
            },
            "shard": {"cuts_dir": self.folder / "cuts"},
        }[stage]
        words = {"out_dir": self.out(stage), **given, **options}
        return [stage, *(word for name, value in words.items() for word in (f"--{name}", str(value)))]

    def run(self, stage, **options):
        main = {"annotate": annotate.main, "shard": shard.main}.get(stage)
        main = main or importlib.import_module("prepare_labelled").main
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", self.argv(stage, **options))
            main()
        return json.loads((self.out(stage) / "drops.json").read_text())


@pytest.fixture
def recipe(tmp_path, repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / "local"))
    return Recipe(tmp_path, repo_root)


def junk(folder):
    (folder / "junk.wav").write_bytes(b"this is no audio")
    add_row(folder, path="junk.wav")


def empty(folder):
    tone(folder / "empty.wav", seconds=0)
    add_row(folder, path="empty.wav")


def nan(folder):
    soundfile.write(folder / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    add_row(folder, path="nan.wav")


def broken_line(folder):
    with open(folder / "list.jsonl", "a") as f:
        f.write('{"path": "tone.wav", \n')


DEFECTS = {
    "missing audio": (lambda f: add_row(f, path="gone.wav"), "prepare_labelled", r"is missing \(1: .*list.jsonl:9"),
    "unreadable audio": (junk, "prepare_labelled", r"audio is unreadable \(1: .*list.jsonl:9\)"),
    "zero-length audio": (empty, "prepare_labelled", r"audio has zero length \(1: .*list.jsonl:9\)"),
    "wrong JSON": (broken_line, "prepare_labelled", r"not JSON in UTF-8 \(1: .*list.jsonl:9\)"),
    "duplicate key": (lambda f: add_row(f, key="u3"), "prepare_labelled", r"duplicate key \(1: .*list.jsonl:9\)"),
    "hostile key": (lambda f: add_row(f, key="../u"), "prepare_labelled", r"not usable .*\(1: .*list.jsonl:9"),
    "unknown label": (lambda f: add_row(f, emotion="joyous"), "annotate", r"'joyous' .*labels/toy.yaml\) \(1: u8\)"),
    "unknown split": (lambda f: add_row(f, split="eval"), "annotate", r"unknown split 'eval' .*\(1: u8\)"),
    "tag in a text": (lambda f: add_row(f, text="<b>"), "annotate", r"angle bracket.* \(1: u8\)"),
    "samples that are no numbers": (nan, "shard", r"unreadable_audio \(1: u8\)"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "stage", "message"), DEFECTS.values(), ids=DEFECTS)
def test_defects_stop_a_stage_unless_they_are_allowed(recipe, spoil, stage, message):
    spoil(recipe.folder)
    for earlier in STAGES[: STAGES.index(stage)]:
        recipe.run(earlier)
    with pytest.raises(ValueError, match=rf"1 of 9 .*{message}.*max_defect_rate; all are listed in ") as caught:
        recipe.run(stage)
    assert "\n" not in str(caught.value)
    ledger = Path(str(caught.value).rpartition("listed in ")[2])
    assert json.loads(ledger.read_text())["read"] == 9
    assert not recipe.out(stage).exists()
    drops = recipe.run(stage, max_defect_rate=0.2)
    assert (drops["read"], drops["used"]) == (9, NUM_GOOD)
    assert not ledger.exists()


@pytest.mark.parametrize(
    "audio", [{"rate_hz": 8000}, {"rate_hz": 48000, "channels": 8}, {"rate_hz": 44100, "subtype": "PCM_24"}], ids=str
)
def test_other_formats_are_converted(recipe, audio):
    tone(recipe.folder / "odd.wav", **audio)
    add_row(recipe.folder, path="odd.wav", split="dev")
    for stage in STAGES:
        assert recipe.run(stage)["used"] == NUM_GOOD + 1
    index = Index.open(recipe.out("shard") / "dev")
    samples = index.audio(0)
    assert samples.shape == (16000,)
    assert np.abs(np.fft.rfft(samples)).argmax() == 440


def test_a_speaker_in_train_and_test_is_named(recipe):
    add_row(recipe.folder, speaker="s1", split="train")
    recipe.run("prepare_labelled")
    with pytest.raises(ValueError, match=r"speaker 's1' of corpus 'toy' is in (train and in test|test and in train)"):
        recipe.run("annotate", max_defect_rate=1)


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [
        ("annotate", {"tasks": "[sing]"}, "unknown task 'sing'"),
        ("annotate", {"tasks": "[asr+sap]"}, "task 'asr+sap': only different ones"),
        ("annotate", {"tokenizer.vocab_size": "many"}, "vocab_size"),
        ("shard", {"audio_format": "mp3"}, "audio_format"),
        ("prepare_labelled", {"lists": "[gone.jsonl]"}, "gone.jsonl is no file"),
    ],
)
def test_wrong_options_are_one_line(recipe, capsys, stage, options, message):
    with pytest.raises(SystemExit):
        recipe.run(stage, **options)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{stage}: error: " in line
    assert message in line


@pytest.mark.parametrize("stage", ["annotate", "shard"])
def test_a_spoilt_line_of_a_manifest_is_named(recipe, stage):
    recipe.run("prepare_labelled")
    path = recipe.folder / "manifests/toy/supervisions.jsonl.gz"
    if stage == "shard":
        recipe.run("annotate")
        path = recipe.folder / "cuts/train.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join([*lines[:2], b'{"id": \n', *lines[3:]])))
    with pytest.raises(ValueError, match=rf"{path.name}:3"):
        recipe.run(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_named_with_the_remedy(recipe, stage):
    for n in range(40):  # enough to go beyond the limit
        add_row(recipe.folder, text=f"{n * 7919:b} {n * 104729:b} {n * 1299709:b}")
    for earlier in STAGES[: STAGES.index(stage)]:
        recipe.run(earlier)
    script = {"prepare_labelled": [recipe.root / "local/prepare_labelled.py"]}.get(stage, ["-m", f"osum.bin.{stage}"])
    done = subprocess.run(
        [sys.executable, *script, *recipe.argv(stage)[1:]],
        cwd=recipe.root,
        env={**os.environ, "PYTHONPATH": str(recipe.root), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    line = done.stderr.splitlines()[-1]
    assert " ERROR " in line
    assert str(recipe.out(stage).parent) in line
    assert "File too large" in line
    assert "free some space" in line
    assert not recipe.out(stage).exists()
    assert not list(recipe.out(stage).parent.glob(".*.partial"))


def killed_at_the_mark(recipe, stage):
    """Run a stage and kill it when all is written but the mark."""
    write = outputs.atomic_write

    def write_or_die(path, data):
        if path.name == outputs.DONE_MARK:
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, data)

    outputs.atomic_write = write_or_die
    recipe.run(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_is_not_finished_and_runs_again(recipe, stage):
    for earlier in STAGES[: STAGES.index(stage)]:
        recipe.run(earlier)
    process = multiprocessing.get_context("fork").Process(target=killed_at_the_mark, args=(recipe, stage))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = (p for p in recipe.out(stage).parent.iterdir() if p.name.endswith((".partial", ".unfinished")))
    assert (left / "drops.json").is_file()
    assert not recipe.out(stage).exists()
    for later in STAGES[STAGES.index(stage) + 1 :][:1]:
        with pytest.raises((ValueError, OSError), match="run the"):
            recipe.run(later)
    assert recipe.run(stage)["used"] == NUM_GOOD
    assert not left.exists()
