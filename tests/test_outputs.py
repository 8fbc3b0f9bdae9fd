"""Output folders: made once, made again when they must be, and never taken for finished when they are not."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from osum import outputs
from osum.outputs import DONE_MARK, atomic_write, output_dir


def make(path, config, inputs=(), content="x", **kwargs) -> bool:
    """Run a stage that writes one file; return whether it ran."""
    with output_dir(path, config, inputs, **kwargs) as out:
        if out is not None:
            (out / "file").write_text(content)
        return out is not None


def test_a_second_run_with_the_same_config_and_inputs_does_nothing(tmp_path):
    assert make(tmp_path / "out", {"size": 1})
    before = (tmp_path / "out/file").stat().st_mtime_ns
    assert not make(tmp_path / "out", {"size": 1}, content="y")
    assert (tmp_path / "out/file").stat().st_mtime_ns == before


def test_where_and_how_fast_do_not_make_an_output_stale(tmp_path):
    assert make(tmp_path / "out", {"size": 1, "num_procs": 1, "overwrite": False, "out_dir": "a"})
    assert not make(tmp_path / "out", {"size": 1, "num_procs": 8, "overwrite": True, "out_dir": "b"})


@pytest.mark.parametrize("in_place", [False, True])
def test_another_config_stops_with_the_difference_and_overwrite_replaces(tmp_path, in_place):
    make(tmp_path / "out", {"optim": {"lr": 0.1}}, in_place=in_place)
    (tmp_path / "out/old").touch()
    with pytest.raises(ValueError, match=r"optim\.lr: 0\.1 -> 0\.2.*--overwrite true"):
        make(tmp_path / "out", {"optim": {"lr": 0.2}}, in_place=in_place)
    assert (tmp_path / "out/old").exists()
    assert make(tmp_path / "out", {"optim": {"lr": 0.2}}, in_place=in_place, overwrite=True)
    assert not (tmp_path / "out/old").exists()


def test_a_changed_input_is_followed_by_data_stages_and_refused_by_training(tmp_path):
    (source := tmp_path / "list").write_text("one")
    make(tmp_path / "data", {}, [source])
    make(tmp_path / "model", {}, [tmp_path / "data"], in_place=True)
    source.write_text("two")
    assert make(tmp_path / "data", {}, [source])
    with pytest.raises(ValueError, match=r"inputs\..*data"):
        make(tmp_path / "model", {}, [tmp_path / "data"], in_place=True)


def test_an_input_that_is_missing_or_unfinished_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cuts: not found; run the stage that writes it first"):
        make(tmp_path / "out", {}, [tmp_path / "cuts"])
    (tmp_path / "cuts").mkdir()
    with pytest.raises(FileNotFoundError, match=r"cuts: the stage that writes it has not finished"):
        make(tmp_path / "out", {}, [tmp_path / "cuts"])


def test_a_failing_stage_leaves_the_previous_output_as_it_was(tmp_path):
    make(tmp_path / "out", {}, content="good")
    with pytest.raises(OSError, match="disk"), output_dir(tmp_path / "out", {}, overwrite=True) as out:
        (out / "file").write_text("half")
        raise OSError(errno.ENOSPC, "disk full")
    assert (tmp_path / "out/file").read_text() == "good"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_training_that_failed_goes_on_in_its_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), output_dir(tmp_path / "exp", {"lr": 1}, in_place=True) as out:
        (out / "checkpoint").touch()
        raise KeyboardInterrupt
    assert not (tmp_path / "exp" / DONE_MARK).exists()
    with pytest.raises(FileNotFoundError, match="has not finished"):
        outputs.input_fingerprint(tmp_path / "exp")
    with pytest.raises(ValueError, match="lr: 1 -> 2"):
        make(tmp_path / "exp", {"lr": 2}, in_place=True)
    with output_dir(tmp_path / "exp", {"lr": 1}, in_place=True) as out:
        assert (out / "checkpoint").exists()
    assert not make(tmp_path / "exp", {"lr": 1}, in_place=True)


STAGE = """
import sys, time
from osum.outputs import output_dir
with output_dir(sys.argv[1], {}) as out:
    (out / "file").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_stage_leaves_nothing_that_counts_and_the_next_run_cleans_up(tmp_path, repo_root, how):
    command = [sys.executable, "-c", STAGE, str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=repo_root, stdout=subprocess.PIPE, text=True) as stage:
        assert stage.stdout.readline() == "writing\n"
        stage.send_signal(how)
    assert not (tmp_path / "out").exists()
    assert make(tmp_path / "out", {}, content="whole")
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")} == {"out", "out/file", f"out/{DONE_MARK}"}


def test_an_atomic_write_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "new/scores.json"
    atomic_write(path, "first")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, "second")
    assert path.read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("number", sorted(outputs.DISK_FULL))
def test_a_full_disk_is_an_error_with_place_and_remedy(tmp_path, number):
    message = rf"out: {os.strerror(number)}; free some space or choose another place, then run again$"
    with pytest.raises(OSError, match=message), output_dir(tmp_path / "out", {}):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_place", [False, True])
def test_a_kill_while_the_old_output_is_deleted_leaves_no_marked_half(tmp_path, monkeypatch, in_place):
    make(tmp_path / "out", {"a": 1}, in_place=in_place)
    with monkeypatch.context() as patch:
        patch.setattr(
            outputs.shutil, "rmtree", lambda folder, **_: os.unlink(folder / "file") or os.kill(os.getpid(), 9)
        )
        if (child := os.fork()) == 0:
            make(tmp_path / "out", {"a": 2}, in_place=in_place, overwrite=True)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert make(tmp_path / "out", {"a": 2}, in_place=in_place)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@dataclass
class Optim:
    lr: float = 0.1
    betas: list[float] = field(default_factory=lambda: [0.9])


@dataclass
class Stage:
    steps: int
    seed: int = 7
    optim: Optim = field(default_factory=Optim)


@pytest.mark.parametrize("in_place", [False, True])
def test_options_that_came_later_are_at_their_defaults_in_an_old_output(tmp_path, in_place):
    old = {"steps": 5, "optim": {"lr": 0.5}}
    assert make(tmp_path / "out", old, in_place=in_place)
    assert not make(tmp_path / "out", Stage(5, optim=Optim(0.5)), in_place=in_place)
    for changed, what in (
        (Stage(5), r"optim.lr: 0.5 -> 0.1"),
        (Stage(5, seed=8, optim=Optim(0.5)), "seed: 7 -> 8"),
        (Stage(5, optim=Optim(0.5, [0.8])), r"optim.betas: \[0.9\] -> \[0.8\]"),
    ):
        with pytest.raises(ValueError, match=rf"made with other settings \({what}\)"):
            make(tmp_path / "out", changed, in_place=in_place)


def test_training_goes_on_with_changes_that_are_accepted(tmp_path):
    source = tmp_path / "source"
    source.write_text("a")
    assert make(tmp_path / "out", Stage(5), [source], in_place=True)
    source.write_text("b")
    change = r"steps: 5 -> 9; inputs.*--overwrite true to replace it; --accept_changes true goes on with them"
    with pytest.raises(ValueError, match=change):
        make(tmp_path / "out", Stage(9), [source], in_place=True)
    (tmp_path / "out" / "checkpoint").write_text("kept")
    assert make(tmp_path / "out", Stage(9), [source], in_place=True, accept_changes=True)
    assert (tmp_path / "out" / "checkpoint").read_text() == "kept"
    assert not make(tmp_path / "out", Stage(9), [source], in_place=True)


def test_a_base_model_goes_by_the_names_sizes_and_samples_of_its_files(tmp_path):
    model, weights = tmp_path / "llm", tmp_path / "llm/model.safetensors"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights.write_text("weights")
    first = outputs.input_fingerprint(model)
    assert outputs.input_fingerprint(model) == first
    assert make(tmp_path / "old", {"a": 1}, in_place=True) and make(tmp_path / "out", {"a": 1}, [model], in_place=True)
    assert not make(tmp_path / "old", {"a": 1}, [model], in_place=True)  # from before base models were looked at
    weights.write_text("wEights")
    assert outputs.input_fingerprint(model) != first
    with pytest.raises(ValueError, match=r"out was made with other settings \(inputs\..*llm"):
        make(tmp_path / "out", {"a": 1}, [model], in_place=True)


def test_weights_that_differ_where_they_are_looked_at_are_another_model(tmp_path):
    model, size = tmp_path / "llm", 8 * outputs.SAMPLE_BYTES
    model.mkdir()
    (model / "config.json").write_text("{}")
    found = set()
    for changed_at in (None, 0, size // 2, size - 1):
        with open(model / "model.safetensors", "wb") as f:
            f.truncate(size)
            if changed_at is not None:
                f.seek(changed_at)
                f.write(b"x")
        found.add(outputs.input_fingerprint(model))
    assert len(found) == 4


def test_an_input_that_was_moved_is_the_same(tmp_path):
    for name in ("here", "there", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"other": 1}' if name == "other" else "{}")

    def stage(name, **kwargs):
        folder = tmp_path / name
        return make(tmp_path / "out", {"llm": {"path": str(folder)}}, [folder], in_place=True, **kwargs)

    assert stage("here")
    (tmp_path / "out" / DONE_MARK).rename(tmp_path / "out" / outputs.STARTED_MARK)  # as if it had been killed
    assert stage("there") and not stage("there")
    with pytest.raises(ValueError, match=r"llm.path: '.*there' -> '.*other'"):
        stage("other")


def test_digests_depend_on_content_not_on_key_order():
    assert outputs.digest({"a": 1, "b": [2]}) == outputs.digest({"b": [2], "a": 1})
    assert outputs.digest({"a": 1}) != outputs.digest({"a": 2})


def test_differences_names_each_changed_leaf():
    old = {"optim": {"lr": 1, "betas": [0.9]}, "seed": 0}
    new = {"optim": {"lr": 2, "betas": [0.9]}, "steps": 5, "seed": 0}
    assert outputs.differences(old, new) == ["optim.lr: 1 -> 2", "steps: None -> 5"]


def test_what_a_kill_left_half_written_in_place_goes_with_the_next_run(tmp_path):
    (tmp_path / "exp" / "cache").mkdir(parents=True)
    left = [tmp_path / "exp" / ".versions.json.17.tmp", tmp_path / "exp" / "cache" / ".lengths.npy.host.17.tmp"]
    for path in left:
        path.write_text("{")
    with outputs.output_dir(tmp_path / "exp", {"a": 1}, in_place=True, accept_changes=True) as out:
        assert out is not None and not any(path.exists() for path in left)
