"""What a training stage is made from: if any of it changes, it does not go on unasked."""

import shutil

import pytest

from osum.tasks.prompting import OWN_DIR
from osum.train.configs import CorpusConfig
from osum.train.stage import StageConfig, inputs, run_stage


@pytest.fixture
def made(shards_dir, tokenizer_dir, tmp_path):
    """The config of a stage whose prompts and tokenizer are copies that can be edited."""
    shutil.copytree(OWN_DIR, tmp_path / "prompts")
    shutil.copytree(tokenizer_dir, tmp_path / "tokenizer")
    data = CorpusConfig(["asr", "sgc"], prompts_dir=tmp_path / "prompts")
    return StageConfig(shards_dir, tmp_path / "tokenizer", tmp_path / "exp", data)


def begin(cfg, bases=()):
    """Start a stage that is killed at once."""

    def killed(cfg, world, out):
        (out / "checkpoint").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage("no.module", cfg, [], bases, killed)


def edit(path):
    path.write_text(path.read_text(encoding="utf-8").replace("请", "烦请", 1) + "\n", encoding="utf-8")


def test_a_stage_with_the_same_inputs_goes_on(made):
    begin(made)
    begin(made)
    run_stage("no.module", made, [], (), lambda cfg, world, out: None)
    run_stage("no.module", made, [], (), lambda cfg, world, out: pytest.fail("it is done"))


def test_other_prompts_in_the_same_folder_are_refused_unless_accepted(made):
    begin(made)
    edit(made.data.prompts_dir / "sgc.yaml")
    with pytest.raises(ValueError, match=r"exp was made with other settings \(inputs\.prompts: "):
        begin(made)
    made.accept_changes = True
    begin(made)
    made.accept_changes = False
    begin(made)


def test_prompts_that_are_not_used_and_comments_change_nothing(made):
    before = inputs(made)
    edit(made.data.prompts_dir / "ser.yaml")
    with open(made.data.prompts_dir / "asr.yaml", "a") as f:
        f.write("# a comment\n")
    assert inputs(made) == before
    made.data.prompts_dir = None
    assert inputs(made) == before, "osum's own have the same content"


@pytest.mark.parametrize("name", ["tokenizer.json", "units.txt"])
def test_another_tokenizer_in_the_same_folder_is_refused(made, name):
    begin(made)
    with open(made.tokenizer_dir / name, "a") as f:
        f.write("\n")
    with pytest.raises(ValueError, match=rf"exp was made with other settings \(inputs\..*{name}: "):
        begin(made)


def test_the_tokenizer_of_a_pretrained_model_counts_and_the_name_of_a_hub_does_not(made, tokenizer_dir, tmp_path):
    shutil.copytree(tokenizer_dir, tmp_path / "whisper")
    bases = (str(tmp_path / "whisper"), "hub/name", None)
    begin(made, bases)
    edit(tmp_path / "whisper" / "tokenizer.json")
    with pytest.raises(ValueError, match=r"\(inputs\..*whisper: [^;]*\)"):
        begin(made, bases)
    with pytest.raises(FileNotFoundError, match="stage3: not found"):
        inputs(made, [tmp_path / "stage3"])
