"""The shell parts: options, the local launcher, stages, and what the scripts say about wrong use."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "egs/osum/run.sh"

STAGES = """
set -euo pipefail
. '{utils}/parse_options.sh'
. '{utils}/stage.sh'
stage=0 stop_stage=9
usage='  --stage N
  --stop-stage N'
parse_options "$@"
launcher=('{utils}/run.sh')
run_stage 0 'first part' "${{launcher[@]}}" log/first.log bash -c 'echo "made $1"' - 'a b'
run_stage 1 'second part' "${{launcher[@]}}" log/second.log bash -c '{second}'
run_stage 2 'third part' "${{launcher[@]}}" log/third.log echo third
"""


def sh(*args, cwd=None, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([str(a) for a in args], cwd=cwd, text=True, capture_output=True, timeout=60, **kwargs)


def run_stages(folder: Path, *options: str, second: str = "true") -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    (folder / "stages.sh").write_text(STAGES.format(utils=ROOT / "utils", second=second))
    return sh("bash", folder / "stages.sh", *options, cwd=folder)


def test_stages_run_in_order_and_show_what_they_do(tmp_path):
    folder = tmp_path / "a folder"
    done = run_stages(folder)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"=== stage (\d) (\w+): (.+)", done.stdout) == [
        ("0", "first", "first part"),
        ("1", "second", "second part"),
        ("2", "third", "third part"),
    ]
    assert "made a b\n" in (folder / "log/first.log").read_text()
    assert "status=0" in (folder / "log/first.log").read_text()


@pytest.mark.parametrize(
    "options", [("--stage", "2"), ("--stage=2", "--stop-stage=2"), ("--stage", "2", "--stop_stage", "5")]
)
def test_only_the_stages_asked_for_run(tmp_path, options):
    done = run_stages(tmp_path / "x", *options)
    assert re.findall(r"=== stage (\d)", done.stdout) == ["2"]


def test_the_command_of_a_banner_can_be_pasted_anywhere(tmp_path):
    folder = tmp_path / "it's a folder"
    done = run_stages(folder)
    alone = re.search(r"alone: (.+)", done.stdout)[1]
    (folder / "path.sh").write_text("from_path=1\n")
    pasted = sh("bash", "-c", alone, cwd="/")
    assert (pasted.returncode, pasted.stdout) == (0, "made a b\n"), pasted.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ('echo working; echo "2026-01-01 10:00:00 ERROR x.json:3: no key" >&2; echo bye; exit 3', "x.json:3: no key"),
        ("echo '  File \"a.py\"'; echo 'KeyError: nine'; echo ChildFailedError: ; exit 3", "KeyError: nine"),
        ("echo 2026-01-01 10:00:00 ERROR cause; echo 2026-01-01 10:00:01 ERROR follows; exit 3", "ERROR cause"),
        ("echo 'decode.py: error: no such option'; exit 3", "decode.py: error: no such option"),
        ("echo 'Bus error'; exit 3", "Bus error"),
        ("exit 3", ""),
    ],
)
def test_a_failing_stage_is_named_with_its_log_and_last_error(tmp_path, command, message):
    done = run_stages(tmp_path, second=command.replace("'", "'\\''"))
    assert done.returncode == 3
    assert "stage 2" not in done.stdout
    first, second = done.stderr.strip().splitlines()
    assert first.startswith("stages.sh: stage 1 (second) failed with status 3: ")
    assert first.endswith(message)
    assert second == f"stages.sh: the whole log is {tmp_path}/log/second.log"


def test_an_error_of_an_earlier_run_is_not_reported(tmp_path):
    run_stages(tmp_path, second="echo 2026-01-01 10:00:00 ERROR old; exit 1")
    done = run_stages(tmp_path, second="echo new; exit 1")
    assert done.stderr.splitlines()[0].endswith("status 1: new")
    assert "ERROR old" in (tmp_path / "log/second.log").read_text(), "logs of earlier runs are kept"


def test_a_log_keeps_the_last_state_of_a_progress_bar(tmp_path):
    done = sh(ROOT / "utils/run.sh", tmp_path / "new/x.log", "printf", "10%%\r50%%\r100%%\nend\n")
    assert done.stdout == "10%\r50%\r100%\nend\n".replace("\r", "\n") or "10%" in done.stdout
    lines = (tmp_path / "new/x.log").read_text().splitlines()
    assert lines[1:3] == ["100%", "end"]
    assert lines[0].startswith("# ") and "command='printf'" in lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stages", "1"], "unknown option --stages; it has: --stage --stop-stage --conf --exp"),
        (["--stage"], "option --stage needs a value; see --help"),
        (["--stage", "two"], "option --stage is 'two'; it must be a whole number from 0 to 6"),
        (["--stage", "7"], "option --stage is '7'; it must be a whole number from 0 to 6"),
        (["--stage", "4", "--stop-stage", "3"], "option --stop-stage is '3'; it must be a whole number from 4 to 6"),
        (["--nproc", "0"], "option --nproc is '0'; it must be a whole number of at least 1"),
        (["--nj", "-1"], "option --nj is '-1'; it must be a whole number of at least 1"),
        (["--launcher", "pbs"], "option --launcher is 'pbs'; it must be local or slurm"),
        (["--shard-parts", "0"], "option --shard-parts is '0'; it must be a whole number of at least 1"),
        (["--decode-parts", "0"], "option --decode-parts is '0'; it must be a whole number of at least 1"),
        (["--raw-dir", "/no/such/folder"], "option --raw-dir is '/no/such/folder', which is no folder"),
        (["--whisper", "/no/such/folder"], "option --whisper is '/no/such/folder', which is no folder"),
        (["--llm", "a/hub-name"], "option --llm is 'a/hub-name', which is no folder"),
        (["--exp", ""], "option --exp has an empty value; leave it out for the default"),
        (["--conf", "nonsense"], "no configuration conf/nonsense; conf/ has: "),
        (["--conf", "./nonsense"], "no configuration /nonsense; conf/ has: "),
        (["mini"], "unexpected argument 'mini'; see --help"),
    ],
)
def test_wrong_options_of_the_recipe_give_one_line(options, message):
    done = sh("bash", RUN, *options, cwd="/")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"run.sh: {message}")


def test_help_names_every_option_and_stage():
    done = sh("bash", RUN, "--help", cwd="/")
    assert done.returncode == 0
    for word in ("--stage", "--stop-stage", "--conf", "--exp", "--whisper", "--llm", "--nproc", "6 score"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("conf", "stage", "options"),
    [
        ("osum", 1, "--tokenizer.path '{llm}'"),
        ("osum", 3, "--tokenizer '{whisper}' --model.path '{whisper}'"),
        ("osum", 4, "--whisper_dir '{exp}/whisper' --out_dir '{exp}/sulm' --num_procs 1 --model.llm.path '{llm}'"),
    ],
)
def test_pretrained_models_reach_the_stages_that_need_them(tmp_path, conf, stage, options):
    folders = {name: tmp_path / f"the {name}" for name in ("whisper", "llm", "exp", "data")}
    for folder in folders.values():
        folder.mkdir()
    given = [word for name in ("whisper", "llm") for word in (f"--{name}", folders[name])]
    places = ["--data-dir", folders["data"], "--exp-dir", folders["exp"], "--nproc", "1"]
    done = sh("bash", RUN, "--conf", conf, "--stage", stage, "--stop-stage", stage, *given, *places)
    shown = re.search(r"alone: \(.+ && (python .+)\)", done.stdout)[1]
    wanted = shlex.split(options.format(**folders))
    words = shlex.split(shown)
    assert words[words.index(wanted[0]) : words.index(wanted[0]) + len(wanted)] == wanted
    assert done.returncode == 1, "2 is for options that the stage does not have"
    assert f"ERROR {folders['data']}/" in done.stderr, "it reads its data next, which is not there"


def test_a_configuration_can_leave_the_training_of_whisper_out(tmp_path):
    conf = shutil.copytree(ROOT / "egs/osum/conf/pretrained", tmp_path / "as_it_comes")
    (conf / "train_whisper.yaml").unlink()
    (tmp_path / "whisper").mkdir()
    options = ["--conf", conf, "--whisper", tmp_path / "whisper", "--data-dir", tmp_path, "--exp-dir", tmp_path / "exp"]
    done = sh("bash", RUN, *options, "--nproc", "1", "--stage", "3", "--stop-stage", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = sh("bash", RUN, *options, "--nproc", "1", "--stage", "3", "--stop-stage", "4")
    assert f"--encoder.path {tmp_path}/whisper --out_dir" in done.stdout and "--whisper_dir" not in done.stdout
    assert done.returncode == 1 and f"ERROR {tmp_path}/" in done.stderr, "it takes the option, and then lacks its data"


def test_option_values_are_never_evaluated(tmp_path):
    done = sh("bash", RUN, "--conf", f"$(touch {tmp_path}/evaluated)", cwd=tmp_path)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tool", ["install.sh", "install_k2.sh", "install_wenet.sh"])
def test_installers_explain_themselves_and_refuse_unknown_options(tool):
    done = sh("bash", ROOT / "tools" / tool, "--help", cwd="/")
    assert done.returncode == 0 and "--help" in done.stdout
    wrong = sh("bash", ROOT / "tools" / tool, "--nonsense", "x", cwd="/")
    assert wrong.returncode == 2 and wrong.stderr.startswith(f"{tool}: unknown option --nonsense; it has: ")


def test_install_names_the_python_it_needs(tmp_path):
    done = sh("bash", ROOT / "tools/install.sh", "--python", "/bin/false", "--venv", tmp_path / "venv")
    assert done.returncode == 2
    assert done.stderr == "install.sh: --python /bin/false is no Python of 3.11 or newer\n"
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("tool", ["install_k2.sh", "install_wenet.sh"])
def test_source_installers_need_a_source(tool):
    done = sh("bash", ROOT / "tools" / tool, "--source", "/nowhere/to/be/found")
    assert done.returncode == 2
    assert "/nowhere/to/be/found" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(("more", "status"), [("", 0), ("    'no-such-package-of-osum>=1',\n", 1)])
def test_an_environment_is_complete_if_it_has_what_this_checkout_requires(repo_root, tmp_path, more, status):
    """What the installed osum says that it requires may be older than the checkout."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/installed.py").write_text((repo_root / "tools/installed.py").read_text())
    setup = (repo_root / "setup.py").read_text()
    (tmp_path / "setup.py").write_text(setup.replace("REQUIRES = [\n", f"REQUIRES = [\n{more}"))
    done = subprocess.run([sys.executable, "-I", tmp_path / "tools/installed.py"], check=False)
    assert done.returncode == status
