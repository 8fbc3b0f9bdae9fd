import json
from dataclasses import replace

from osum.data import lengths
from osum.data.ledger import epoch_ledger, summary
from osum.data.plan import Planner
from osum.data.plan_config import PlanConfig
from osum.text.template import SulmTemplate

CFG = PlanConfig(virtual_ranks=2, max_tokens=500, max_audio_s=15.0)


def test_planned_is_used_plus_dropped(make_index, toy, task_objects, prompts, tokenizer, tmp_path):
    index = make_index([*toy(20), replace(toy(1)[0], key="long", num_samples=20 * 16_000)])
    table = lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer))
    planned = Planner(index, table, CFG, seed=1).epoch(1)
    line = {"epoch": 1, "step": 0, "key": "corpus/u003", "task": "asr", "reason": "corrupt: shard.tar: ends"}
    other = {**line, "epoch": 0, "key": "corpus/u004"}
    (tmp_path / "drops.0.jsonl").write_text("".join(json.dumps(d) + "\n" for d in (line, line, other)))
    ledger = epoch_ledger(index, planned, 1, [tmp_path / "drops.0.jsonl", tmp_path / "drops.1.jsonl"])
    assert (ledger.read, ledger.used) == (21, 19)
    assert ledger.to_json()["dropped"] == {
        "corrupt": {"count": 1, "defect": True, "ids": ["corpus/u003"]},
        "too_long": {"count": 1, "defect": False, "ids": ["long"]},
    }


def test_the_summary_names_what_was_left_out(make_index, toy, task_objects, prompts, tokenizer):
    index = make_index([*toy(20), replace(toy(1)[0], key="long", num_samples=20 * 16_000)])
    table = lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer))
    planner = Planner(index, table, CFG, seed=1)
    line = summary(planner, planner.epoch(0))
    assert "utterances=20 " in line and line.endswith("too_long=1")
