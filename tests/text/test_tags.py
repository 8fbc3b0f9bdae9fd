"""Tags in targets."""

import pytest

from osum.text import tags


def test_parse_inverts_render() -> None:
    text = "hello there" + tags.render("old") + tags.render("throat clearing")
    assert text == "hello there<old><throat clearing>"
    assert tags.parse(text) == ("hello there", ["old", "throat clearing"])


def test_broken_tags_are_text() -> None:
    assert tags.parse("hello<old") == ("hello<old", [])
    assert tags.parse("a<b<c>") == ("a<b", ["c"])
    assert tags.parse("") == ("", [])


def test_a_tag_separates_words() -> None:
    assert tags.remove("good<0.3><0.3>day") == "good day"


def test_labels_with_brackets_are_refused() -> None:
    with pytest.raises(ValueError, match="angle bracket"):
        tags.render("a<b")
