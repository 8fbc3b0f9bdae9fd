"""The README's way to bring one's own recordings: its list, its YAML, its command."""

import json
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import yaml

SPEAKERS = tuple("abcdefghijklmnopqrst")


def fenced(text: str, language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return block


@pytest.fixture
def raw_dir(tmp_path, repo_root):
    """A list with the fields of the README's, its recordings, and one line that is broken."""
    examples = [json.loads(line) for line in fenced(readme(repo_root), "json").splitlines()]
    folder, rng = tmp_path / "my recordings", np.random.default_rng(0)
    folder.mkdir()
    with open(folder / "list.jsonl", "w", encoding="utf-8") as rows:
        for n in range(200):
            speaker = SPEAKERS[n % len(SPEAKERS)]
            row = {**examples[n % 2], "path": f"{speaker}{n}.wav", "speaker": speaker}
            soundfile.write(folder / row["path"], 0.1 * rng.standard_normal(8000), 16000)
            rows.write(json.dumps(row) + "\n")
        rows.write('{"path": "a0.wav", "text": \n')
    return folder


def readme(repo_root) -> str:
    return (repo_root / "README.md").read_text(encoding="utf-8")


def test_the_readmes_list_becomes_shards(raw_dir, tmp_path, repo_root, readme_commands):
    (command,) = [line for line in readme_commands if "--conf mine" in line]
    conf = tmp_path / "mine"
    shutil.copytree(repo_root / "egs/osum/conf/real", conf)
    (conf / "prepare.yaml").write_text(fenced(readme(repo_root), "yaml"))
    annotate = yaml.safe_load((conf / "annotate.yaml").read_text())
    del annotate["split"]["train_only"]
    (conf / "annotate.yaml").write_text(yaml.safe_dump(annotate))

    script = shlex.quote(str(repo_root / "egs/osum/run.sh"))
    words = command.replace("egs/osum/run.sh", script).replace("--conf mine", "--conf ./mine")
    words = words.replace("--raw-dir recordings", "--raw-dir 'my recordings'") + " --stop-stage 2"
    places = "--data-dir out/data --exp-dir out/exp"
    done = subprocess.run(["bash", "-c", f"{words} {places}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    drops = json.loads((tmp_path / "out/data/manifests/mine/drops.json").read_text())
    assert (drops["read"], drops["used"]) == (201, 200)
    assert "list.jsonl:201" in json.dumps(drops)
    headers = [tmp_path / f"out/data/shards/{split}/shards.list" for split in ("train", "dev", "test")]
    assert all(path.read_text().strip() for path in headers)
    card = (tmp_path / "out/data/cuts/data_card.md").read_text(encoding="utf-8")
    assert "only:ved" in card and "asr" in card
