"""Rules about the tree itself that no linter knows."""

import ast
import re
import subprocess

STAGES = ("prepare", "annotate", "shard", "train_whisper", "train_sulm", "decode", "score")


def tracked(root, *patterns):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *patterns],
        cwd=root,
        text=True,
        capture_output=True,
        check=True,
    )
    return [root / line for line in listed.stdout.splitlines() if (root / line).exists()]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}


def test_modules_are_named_for_what_they_hold(repo_root):
    vague = {"utils", "util", "common", "misc", "helpers"}
    assert not [p for p in tracked(repo_root, "*.py") if p.stem in vague or vague & set(p.parent.parts)]


def test_corpus_scripts_know_nothing_of_models_and_tasks(repo_root):
    for path in tracked(repo_root, "local/*.py"):
        packages = {name.split(".")[1] for name in imported(path) if name.startswith("osum.")}
        assert packages <= {"config", "log", "outputs", "rng", "data"}, f"{path}: {sorted(packages)}"


def test_nothing_in_the_tree_is_a_link_or_names_a_place_of_one_machine(repo_root):
    place = re.compile(r"(?<![\w.])/(?:home|root|work|Users|farm)/\w")
    for path in tracked(repo_root):
        assert not path.is_symlink(), path
        if path.suffix in {".py", ".sh", ".yaml", ".md", ".toml", ".txt", ""}:
            found = place.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path}: {found}"


def test_every_requirement_has_a_tested_pin(repo_root):
    body = ast.parse((repo_root / "setup.py").read_text(encoding="utf-8")).body
    values = {node.targets[0].id: node.value for node in body if isinstance(node, ast.Assign)}
    groups = [values["REQUIRES"], *values["EXTRAS"].values]
    lines = [line for group in groups for line in ast.literal_eval(group)]
    names = {re.match(r"[\w.-]+", line)[0].lower() for line in lines}
    pins = (repo_root / "tools/constraints.txt").read_text().lower().splitlines()
    assert names - {line.split("==")[0] for line in pins} == set()


def test_every_stage_is_one_module_and_one_yaml_in_each_conf(repo_root):
    confs = [p for p in (repo_root / "egs/osum/conf").iterdir() if p.is_dir()]
    assert {"mini", "mini_full", "smoke", "real", "pretrained", "osum"} <= {p.name for p in confs}
    files = [conf / f"{stage}.yaml" for conf in confs for stage in STAGES]
    assert [path for path in files if not path.is_file()] == []
    assert [stage for stage in STAGES if not (repo_root / f"osum/bin/{stage}.py").is_file()] == []
