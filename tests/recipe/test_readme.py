"""Every command that the README shows is run here, by test_recipe.py, or by .ci/run."""

import subprocess

import pytest

BY_THE_RECIPE_TEST = (
    "bash egs/osum/run.sh --conf mini --stage 0 --stop-stage 6",
    "bash egs/osum/run.sh --conf mini --stage 2 --stop-stage 2",
    "bash egs/osum/run.sh --conf mine --raw-dir recordings",
)
BY_CI = ("bash tools/test.sh", "bash tools/check.sh")
HERE = (
    "bash egs/osum/run.sh --help",
    "python -m osum.bin.convert --help",
    "python local/prepare_labelled.py --help",
)


def test_no_command_of_the_readme_is_untested(readme_commands):
    assert sorted(readme_commands) == sorted(BY_THE_RECIPE_TEST + BY_CI + HERE)


@pytest.mark.parametrize("command", HERE)
def test_the_readmes_small_commands_run(command, repo_root):
    done = subprocess.run(
        ["bash", "-c", f". egs/osum/path.sh && {command}"], cwd=repo_root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "--" in done.stdout


def test_ci_runs_the_readmes_checks_and_tests(repo_root):
    lines = (repo_root / ".ci/run").read_text().splitlines()
    assert [line.removeprefix("exec ") for line in lines if "tools/" in line] == [
        "bash tools/install.sh",
        "bash tools/install_slurm.sh",
        "bash tools/check.sh",
        "bash tools/test.sh",
    ]


def test_the_test_command_hands_its_arguments_to_pytest(repo_root):
    done = subprocess.run(["bash", "tools/test.sh", "--version"], cwd=repo_root, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "pytest"), done.stderr


def test_the_readme_names_every_stage_and_task(repo_root):
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    for word in (
        *("prepare", "annotate", "shard", "train_whisper", "train_sulm", "decode", "score"),
        *("asr", "srwt", "ved", "ser", "ssr", "sgc", "sap", "sttc"),
    ):
        assert f"`{word}`" in text, word
