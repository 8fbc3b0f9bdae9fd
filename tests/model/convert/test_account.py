import pytest
import torch

from osum.model.convert.account import Account, shapes_of

STATE = {"w": torch.ones(2, 3), "table": torch.ones(1, 5, 2), "copy": torch.ones(2, 3), "spare": torch.zeros(4)}
WANTED = {"a.w": (2, 3), "a.table": (5, 2)}


@pytest.fixture
def account():
    return Account(STATE, "old.pt")


def theirs(ours):
    return ours.removeprefix("a.")


def test_what_is_taken_has_our_names_and_shapes(account):
    taken = account.take(WANTED, theirs)
    assert shapes_of(taken) == {"a.w": torch.Size([2, 3]), "a.table": torch.Size([5, 2])}
    account.copies({"copy": "w", "absent": "w"})
    account.zeros(["spare", "absent"], "we have none")
    account.close()


def test_every_way_of_not_fitting_is_named(account):
    with pytest.raises(ValueError, match=r"^old.pt: 1 tensors are missing; .*: x$"):
        account.take({**WANTED, "a.x": (1,)}, theirs)
    with pytest.raises(ValueError, match=r"^old.pt: 1 tensors are of another size .*: w \(2, 3\) instead of \(3, 2\)$"):
        account.take({"a.w": (3, 2)}, theirs)
    with pytest.raises(ValueError, match=r"not the equal copies that they should be: spare \(of w\)"):
        account.copies({"spare": "w"})
    with pytest.raises(ValueError, match=r"not the equal copies that they should be: copy \(of absent\)"):
        account.copies({"copy": "absent"})
    with pytest.raises(ValueError, match=r"not zero, but we have none: copy"):
        account.zeros(["copy"], "we have none")
    with pytest.raises(ValueError, match=r"4 tensors are unknown; .*: copy, spare, table, w$"):
        account.close()


def test_many_names_are_counted():
    with pytest.raises(ValueError, match=r"30 tensors are unknown; .*, t19 and 10 more$"):
        Account({f"t{n:02d}": torch.ones(1) for n in range(30)}, "old.pt").close()


def test_a_computed_table_must_be_the_same_as_far_as_it_is_used(account):
    account.computed("table", torch.ones(3, 2))
    for other in (torch.zeros(3, 2), torch.ones(6, 2)):
        with pytest.raises(ValueError, match="not the table of positions that is computed here: table"):
            Account(STATE, "old.pt").computed("table", other)


def test_what_is_unused_is_settled(account):
    account.unused("^sp", "asked for")
    account.take(WANTED, theirs)
    with pytest.raises(ValueError, match=r"1 tensors are unknown.*: copy$"):
        account.close()
