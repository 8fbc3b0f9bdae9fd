import pytest

from osum.model.ending import StopRules, ends_in_copies


@pytest.mark.parametrize(
    ("ids", "copies", "expected"),
    [
        ([7, 7, 7], 3, True),
        ([7, 7], 3, False),
        ([1, 2, 3, 2, 3, 2, 3], 3, True),
        ([1, 2, 3, 2, 3, 2, 4], 3, False),
        ([5, 5, 5, 1], 3, False),
        ([], 2, False),
        ([*range(33), *range(33)], 2, False),
        ([*range(32), *range(32)], 2, True),
    ],
)
def test_ends_in_copies(ids, copies, expected):
    assert ends_in_copies(ids, copies) is expected


def test_what_ends_a_text():
    rules, ids = StopRules(frozenset({0, 9}), max_repeats=3), [4]
    assert rules.append(ids, 5, limit=8) is None and ids == [4, 5]
    for stop_id in (0, 9):
        stopped = rules.append(ids, stop_id, limit=8)
        assert (stopped.ids, stopped.truncated, stopped.repeated) == ([4, 5], False, False)
    cut = rules.append(ids, 5, limit=3)
    assert (cut.ids, cut.truncated, cut.repeated) == ([4, 5, 5], True, False)
    loop = rules.append(ids, 5, limit=4)
    assert (loop.ids, loop.truncated, loop.repeated) == ([4, 5, 5, 5], False, True)
    assert StopRules(frozenset()).append([5] * 50, 5, limit=99) is None
