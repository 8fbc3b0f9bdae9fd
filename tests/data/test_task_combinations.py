"""Combined and tag-only tasks from manifests to batches, with no code of their own."""

import sys

import numpy as np
import pytest
import soundfile

from osum import tasks
from osum.bin import annotate, shard
from osum.data.load.loader import PackDataset, eval_batches
from osum.data.plan import lengths
from osum.data.plan.config import PlanConfig
from osum.data.plan.planner import plan_eval
from osum.data.store.index import Index
from osum.text import tokenizer as tokenizers
from osum.text.template import SulmTemplate, WhisperTemplate

NAMES = ["sap", "sap+sgc", "ssr+sap+sgc", "only:sap+sgc", "only:ved"]
TARGETS = {
    ("known", "sap"): "hello there<old>",
    ("known", "sap+sgc"): "hello there<old><female>",
    ("known", "only:sap+sgc"): "<old><female>",
    ("untranscribed", "only:sap+sgc"): "<child><male>",
    ("no speech", "only:ved"): "<laugh>",
}
ROWS = [
    {"id": "known", "text": "Hello there", "language": "en", "gender": "female", "custom": {"age": "old"}},
    {"id": "untranscribed", "language": "en", "gender": "male", "custom": {"age": "child"}},
    {"id": "no speech", "text": "", "custom": {"event": "laugh"}},
]


@pytest.fixture
def data(tmp_path, repo_root, write_corpus, monkeypatch):
    """Stages 1 and 2 over three utterances: the index of the split train, and the tokenizer."""
    write_corpus(tmp_path / "manifests/toy", *ROWS)
    for row in ROWS:
        soundfile.write(tmp_path / f"{row['id']}.flac", np.full(16000, 0.1), 16000)
    monkeypatch.chdir(tmp_path)
    words = ["--manifests_dir", "manifests", "--out_dir", "cuts", "--labels_dir", str(repo_root / "local/labels")]
    words += ["--tasks", f"[{', '.join(NAMES)}]", "--tokenizer.vocab_size", "500", "--tokenizer.max_time_s", "1"]
    monkeypatch.setattr(sys, "argv", ["annotate", *words, "--split.train_only", "[toy]"])
    annotate.main()
    shard.main(["--cuts_dir", "cuts", "--out_dir", "shards"])
    return Index.open(tmp_path / "shards/train"), tokenizers.load(tmp_path / "cuts/tokenizer")


@pytest.mark.parametrize("decoder_only", [True, False])
def test_targets_come_through_to_the_labels_of_batches(data, decoder_only):
    index, tokenizer = data
    of = {name: tasks.get(name) for name in NAMES}
    prompts = tasks.load_prompts(None, NAMES)
    template = (
        SulmTemplate(tokenizer) if decoder_only else WhisperTemplate(tokenizer, {n: t.tag for n, t in of.items()})
    )
    dataset = PackDataset(index, of, prompts, template)
    planned = plan_eval(index, lengths.build(index, of, prompts, template), PlanConfig(virtual_ranks=1))
    found = {}
    for loaded in eval_batches(dataset, planned):
        assert loaded.dropped == []
        labels = loaded.batch.labels.split(loaded.batch.segment_lens.tolist())
        for key, task, ids in zip(loaded.batch.keys, loaded.batch.tasks, labels, strict=True):
            found[key, task] = tokenizer.decode(ids[ids >= 0]).removesuffix(tokenizers.END)
    assert found == TARGETS


def test_index_and_tokenizer_know_the_tasks(data):
    index, tokenizer = data
    assert index.header.tasks == ["only:sap+sgc", "only:ved", "sap", "sap+sgc"]
    for name in ("sap+sgc", "only:sap+sgc"):
        parts = name.replace(":", "+").split("+")
        assert tasks.get(name).tag == "".join(f"<{part}>" for part in parts)
        assert len(tokenizer.encode(tasks.get(name).tag)) == len(parts)
