"""Reports show plain text as itself, in Markdown and in HTML."""

from __future__ import annotations

import pytest

from osum.eval.document import Gallery, Heading, Listing, Paragraph, Picture, Table, pictures, to_html, to_markdown


def test_markdown() -> None:
    blocks = [
        Heading(2, "a_b"),
        Paragraph("two\nlines"),
        Table(("task", "n"), [("x|y<happy>", "3")], "lr"),
        Gallery([Picture("p", b"png", "caption")]),
        Listing("conf", "a: ```\n"),
    ]
    assert to_markdown(blocks, "report") == (
        "## a\\_b\n\n"
        "two lines\n\n"
        "| task | n |\n| :--- | ---: |\n| x\\|y\\<happy\\> | 3 |\n\n"
        "![caption](report/p.png)\n\ncaption\n\n"
        "<details><summary>conf</summary>\n\n````\na: ```\n````\n\n</details>\n"
    )


def test_html_is_self_contained_and_escaped() -> None:
    page = to_html([Table(("t",), [("<happy>",)], "l"), Gallery([Picture("p", b"png", 'a"b')])], "<title>")
    assert "<title>&lt;title&gt;</title>" in page
    assert '<td class="l">&lt;happy&gt;</td>' in page
    assert '<img src="data:image/png;base64,cG5n" alt="a&quot;b">' in page
    assert "http" not in page


def test_uneven_table() -> None:
    with pytest.raises(ValueError, match=r"widths \[1, 2\]"):
        Table(("a", "b"), [("1",)], "lr")


def test_picture_names_are_unique() -> None:
    one = Picture("p", b"", "")
    assert pictures([Gallery([one])]) == [one]
    with pytest.raises(ValueError, match=r"not unique: \['p'\]"):
        pictures([Gallery([one]), Gallery([one])])
