"""The ledger of dropped utterances."""

import json
from pathlib import Path

import pytest

from osum.data.drops import Drops


def test_counts_and_lists_by_reason(tmp_path: Path) -> None:
    drops = Drops(read=4, used=1)
    drops.add("too_long", "a")
    drops.add("too_long", "b")
    drops.add("unreadable", "c", defect=True)
    drops.save(tmp_path / "drops.json")
    assert json.loads((tmp_path / "drops.json").read_text()) == {
        "read": 4,
        "used": 1,
        "dropped": {
            "too_long": {"count": 2, "defect": False, "ids": ["a", "b"]},
            "unreadable": {"count": 1, "defect": True, "ids": ["c"]},
        },
    }


def test_only_defects_stop_a_stage() -> None:
    drops = Drops(read=100, used=50)
    for n in range(49):
        drops.add("too_short", str(n))
    drops.add("unreadable", "bad-7", defect=True)
    drops.check(max_defect_rate=0.01)
    with pytest.raises(ValueError, match=r"1 of 100 .* unreadable \(1: bad-7\).*max_defect_rate"):
        drops.check(max_defect_rate=0.005)


def test_read_is_used_plus_dropped(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Drops(read=2, used=1).save(tmp_path / "drops.json")
    with pytest.raises(ValueError, match="no utterance"):
        Drops().check(0.01)


def test_a_stage_that_uses_nothing_stops_though_nothing_is_defective() -> None:
    drops = Drops(read=5)
    for n in range(5):
        drops.add("too_short", f"u{n}")
    with pytest.raises(ValueError, match=r"^none of 5 utterances can be used: too_short \(5: u0, u1, u2, \.\.\.\)$"):
        drops.check(max_defect_rate=1.0)


def test_a_settled_ledger_lies_in_the_output_or_beside_it(tmp_path: Path) -> None:
    (partial := tmp_path / ".out.1.partial").mkdir()
    drops = Drops(read=2, used=1)
    drops.add("unreadable", "u0", defect=True)
    with pytest.raises(ValueError, match=r"max_defect_rate; all are listed in .*/out\.drops\.json$"):
        drops.settle(partial, tmp_path / "out", max_defect_rate=0.4)
    assert json.loads((tmp_path / "out.drops.json").read_text()) == drops.to_json()
    assert not list(partial.iterdir())
    drops.settle(partial, tmp_path / "out", max_defect_rate=0.5)
    assert json.loads((partial / "drops.json").read_text()) == drops.to_json()
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]


def test_merge_adds_a_workers_ledger() -> None:
    ours, theirs = Drops(read=1, used=1), Drops(read=2, used=1)
    theirs.add("empty", "x", defect=True)
    ours.merge(theirs)
    ours.merge(theirs)
    assert (ours.read, ours.used, ours.num_dropped, ours.num_defects) == (5, 3, 2, 2)


def test_notes_are_kept_beside_what_is_used():
    drops, other = Drops(read=1, used=1), Drops(read=2, used=2)
    assert "notes" not in drops.to_json()
    drops.note("repeated", "a")
    other.note("repeated", "b")
    drops.merge(other)
    drops.check(max_defect_rate=0.0)
    assert drops.to_json()["notes"] == {"repeated": {"count": 2, "ids": ["a", "b"]}}


def test_a_saved_ledger_can_be_read_again(tmp_path: Path) -> None:
    drops = Drops(read=3, used=1)
    drops.add("too_long", "a")
    drops.add("unreadable", "b", defect=True)
    drops.note("repeated", "c")
    drops.save(tmp_path / "drops.json")
    assert Drops.load(tmp_path / "drops.json") == drops
