import json
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace

import pytest

from osum.data.examples import Dropped
from osum.data.load import ledger as ledger_module
from osum.data.load.ledger import check_defects, epoch_ledger, summary
from osum.data.load.ledger_file import LedgerFile
from osum.data.plan import lengths
from osum.data.plan.config import PlanConfig
from osum.data.plan.planner import Planner
from osum.text.template import SulmTemplate

CFG = PlanConfig(virtual_ranks=2, max_tokens=200, max_audio_s=6.0, corpus_weights={"toy": 2.0})
KEY = "corpus/u003"


@pytest.fixture
def planner(make_index, toy, task_objects, prompts, tokenizer):
    """Twenty utterances, twice an epoch, and one that is too long."""
    index = make_index([*toy(20), replace(toy(1)[0], key="long", num_samples=20 * 16_000)])
    return Planner(index, lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer)), CFG, seed=1)


class Ranks:
    """What some ranks note that follow a plan; utterances of `fatal` keys are dropped."""

    def __init__(self, folder, planner, num_ranks=1, fatal=(KEY,)):
        self.planner, self.fatal = planner, fatal
        self.files = [LedgerFile(folder, rank, num_ranks, "plan") for rank in range(num_ranks)]
        self.go_on(0, 0)

    def go_on(self, epoch, step):
        for file in self.files:
            file.go_on(epoch, step)

    def walk(self, epoch, first, end, written=True):
        planned, index = self.planner.epoch(epoch), self.planner.index
        for step in range(first, end):
            for rank, file in enumerate(self.files):
                packs = range(rank, planned.num_packs(step), len(self.files))
                items = [item for number in packs for item in planned.pack(step, number)]
                pairs = Counter((index.corpus(i.row), i.task) for i in items)
                lost = [i for i in items if index.key(i.row) in self.fatal]
                dropped = [Dropped.item(index, i, "corrupt: a.tar: ends") for i in lost]
                file.add(epoch, step, pairs, pairs - Counter((d.corpus, d.task) for d in dropped), dropped)
        for file in self.files if written else ():
            file.write()

    def ledger(self, epoch):
        return epoch_ledger(self.planner.index, self.planner.epoch(epoch), epoch, self.files[0].entries(epoch))


def test_planned_is_used_plus_dropped_by_corpus_and_task(planner, tmp_path):
    ranks = Ranks(tmp_path, planner)
    ranks.walk(1, 0, planner.epoch(1).num_steps)
    ledger = ranks.ledger(1)
    # Both copies count: of one utterance read twice none is used.
    assert (ledger.read, ledger.num_used, ledger.num_defects) == (41, 38, 2)
    ledger.save(tmp_path / "00001.json")
    found = json.loads((tmp_path / "00001.json").read_text())
    assert (found["read"], found["used"], found["complete"]) == (41, 38, True)
    assert found["dropped"] == {
        "corrupt": {"count": 2, "defect": True, "ids": [KEY, KEY]},
        "too_long": {"count": 1, "defect": False, "ids": ["long"]},
    }
    of_tasks = found["corpora"]["toy"]["tasks"]
    assert found["corpora"]["toy"]["left_out"] == {"too_long": 1}
    assert sum(t["planned"] for t in of_tasks.values()) == 40 and sum(t["used"] for t in of_tasks.values()) == 38
    assert all(t["planned"] == t["used"] + sum(t["dropped"].values()) for t in of_tasks.values())
    *table, left_out, totals = ledger.lines()
    assert len(table) == len(of_tasks) and table[0].startswith("ledger epoch=1 corpus=toy task=asr planned=")
    assert sum("corrupt=" in line for line in table) in (1, 2)
    assert left_out == "ledger epoch=1 corpus=toy left_out=1 too_long=1"
    assert totals == "epoch=1 read=41 used=38 defects=2"


def test_what_is_used_otherwise_than_asked_for_is_noted(planner, tmp_path):
    file = LedgerFile(tmp_path, 0, 1, "plan")
    file.go_on(0, 0)
    file.add(0, 0, Counter(), Counter(), [], [("b", "not augmented: noise.wav: gone"), ("a", "not augmented: cut")])
    file.write()
    notes = epoch_ledger(planner.index, planner.epoch(0), 0, file.entries(0)).to_json()["notes"]
    assert notes == {"not augmented": {"count": 2, "ids": ["a", "b"]}}


def test_the_number_of_ranks_changes_nothing(planner, tmp_path):
    found = []
    for num_ranks in (1, 2, 3):
        (tmp_path / str(num_ranks)).mkdir()
        ranks = Ranks(tmp_path / str(num_ranks), planner, num_ranks, fatal=(KEY, "corpus/u011"))
        ranks.walk(0, 0, planner.epoch(0).num_steps)
        found.append(ranks.ledger(0).to_json())
    assert found[0] == found[1] == found[2] and found[0]["used"] == 36


def test_steps_done_again_by_other_ranks_count_once(planner, tmp_path):
    num_steps = planner.epoch(0).num_steps
    assert num_steps > 3
    killed = Ranks(tmp_path, planner, num_ranks=3)
    killed.walk(0, 0, 2)  # a checkpoint
    killed.walk(0, 2, 3)  # one that was not finished
    killed.walk(0, 3, num_steps, written=False)
    resumed = Ranks(tmp_path, planner, num_ranks=2)
    resumed.go_on(0, 0)  # from the start
    assert resumed.files[0].entries(0) == []
    killed.go_on(0, 0)
    killed.walk(0, 0, 2)
    killed.walk(0, 2, 3)
    for file in resumed.files:
        file.go_on(0, 2)
    resumed.walk(0, 2, num_steps)
    assert resumed.ledger(0).to_json()["complete"] and resumed.ledger(0).num_used == 38


@pytest.mark.parametrize("torn", [b'{"plan": "plan", "epoch": 0, "fir', b'{"plan": "\xe4\xbd', b"[1]", b"{}"])
def test_a_line_that_a_kill_cut_short_is_ignored(planner, tmp_path, torn):
    num_steps = planner.epoch(0).num_steps
    killed = Ranks(tmp_path, planner)
    killed.walk(0, 0, 2)
    with open(tmp_path / "ledger.0.jsonl", "ab") as f:
        f.write(torn)
    assert killed.files[0].entries(0)[-1].end == 2
    resumed = LedgerFile(tmp_path, 0, 1, "plan")
    resumed.go_on(0, 2)
    killed.walk(0, 2, num_steps)
    assert killed.ledger(0).num_used == 38


def changed(path, change):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines[0])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def more_used(entry):
    entry["used"][0][2] += 1


def never_planned(entry):
    entry["dropped"].append(entry["dropped"][0] | {"key": "nobody"})


def twice(entry):
    entry["dropped"].append(entry["dropped"][0])
    entry["planned"] = [[c, t, n + (t == entry["dropped"][0]["task"])] for c, t, n in entry["planned"]]


@pytest.mark.parametrize("change", [more_used, never_planned, twice])
def test_what_does_not_add_up_is_named(planner, tmp_path, change):
    ranks = Ranks(tmp_path, planner)
    ranks.walk(0, 0, planner.epoch(0).num_steps)
    task = json.loads((tmp_path / "ledger.0.jsonl").read_text())["dropped"][0]["task"]
    changed(tmp_path / "ledger.0.jsonl", change)
    named = "asr" if change is more_used else task
    with pytest.raises(
        ValueError, match=rf"epoch 0 does not add up: .*corpus toy, task {named}: planned \d+, used \d+"
    ):
        ranks.ledger(0)


@pytest.mark.parametrize("is_large", [False, True])
def test_ranks_that_leave_the_plan_are_named(planner, tmp_path, monkeypatch, is_large):
    if is_large:
        monkeypatch.setattr(ledger_module, "MAX_PLANNED_AGAIN", 0)
    ranks = Ranks(tmp_path, planner, fatal=())
    ranks.walk(0, 0, planner.epoch(0).num_steps)

    def lose_one(entry):
        entry["planned"][0][2] -= 1
        entry["used"][0][2] -= 1

    changed(tmp_path / "ledger.0.jsonl", lose_one)
    with pytest.raises(
        ValueError, match=r"did not follow the plan; corpus toy, task asr: \d+ in the plan, \d+ asked for"
    ):
        ranks.ledger(0)


def test_a_step_noted_twice_is_an_error(planner, tmp_path):
    ranks = Ranks(tmp_path, planner)
    ranks.walk(0, 0, planner.epoch(0).num_steps)
    (tmp_path / "ledger.1.jsonl").write_text((tmp_path / "ledger.0.jsonl").read_text())
    with pytest.raises(ValueError, match="steps are noted, but it has"):
        ranks.ledger(0)


def test_an_epoch_that_is_not_noted_as_a_whole_is_said_to_be(planner, tmp_path, caplog):
    num_steps = planner.epoch(0).num_steps
    ranks = Ranks(tmp_path, planner)
    changed_plan = LedgerFile(tmp_path, 0, 1, "other")
    changed_plan.add(0, 0, Counter(), Counter(), [])
    changed_plan.write()
    ranks.go_on(0, 1)
    ranks.walk(0, 1, num_steps)
    assert not ranks.ledger(0).to_json()["complete"]
    assert f"ledger incomplete epoch=0 steps={num_steps - 1} of={num_steps}" in caplog.text


def test_the_summary_names_what_was_left_out(planner):
    line = summary(planner, planner.epoch(0))
    assert "utterances=40 " in line and " too_long=1 " in line


@pytest.mark.parametrize(
    ("dropped", "planned", "rate", "stops"),
    [
        (10, 20, 0.0, False),
        (11, 20, 0.5, True),
        (11, 2000, 0.01, False),
        (21, 2000, 0.01, True),
        (2000, 2000, 1.0, False),
    ],
)
def test_more_than_some_defects_are_an_error(dropped, planned, rate, stops):
    said = rf"epoch 3: {dropped} of {planned} utterances could not be used .*max_defect_rate"
    with pytest.raises(ValueError, match=said) if stops else nullcontext():
        check_defects(dropped, planned, rate, "epoch 3")
