"""A report as a list of blocks, written once and rendered both as Markdown and as one self-contained HTML page.

All text in blocks is plain: the renderers escape it, so that `<happy>` or a `|` in a hypothesis shows as itself.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of plain text under a header; `align` has one of `l`, `r` for each column."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str

    def __post_init__(self) -> None:
        """ValueError when a row or `align` does not fit the header."""
        widths = {len(self.header), len(self.align), *map(len, self.rows)}
        if len(widths) > 1:
            raise ValueError(f"table {list(self.header)}: rows or alignment of widths {sorted(widths)}")


@dataclass(frozen=True)
class Picture:
    """A PNG with a caption; `name` is its file name without suffix."""

    name: str
    png: bytes
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Pictures that may stand beside each other."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Listing:
    """A file's content, folded away under a summary."""

    summary: str
    text: str


Block = Heading | Paragraph | Table | Gallery | Listing


def pictures(blocks: Sequence[Block]) -> list[Picture]:
    """Return all pictures in order. ValueError when two share a name."""
    found = [picture for block in blocks if isinstance(block, Gallery) for picture in block.pictures]
    names = [picture.name for picture in found]
    if len(set(names)) < len(names):
        raise ValueError(f"picture names are not unique: {sorted(n for n in set(names) if names.count(n) > 1)}")
    return found


def to_markdown(blocks: Sequence[Block], picture_dir: str) -> str:
    """Return GitHub-flavoured Markdown; pictures are `<picture_dir>/<name>.png`."""
    return "\n\n".join(_markdown(block, picture_dir) for block in blocks) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """Return one HTML page with style and pictures inside, which needs no other file."""
    body = "\n".join(_html(block) for block in blocks)
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{_CSS}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _markdown(block: Block, picture_dir: str) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_escape_markdown(text)}"
        case Paragraph(text):
            return _escape_markdown(text)
        case Table(header, rows, align):
            rule = [{"l": ":---", "r": "---:"}[a] for a in align]
            lines = [[_escape_markdown(cell) for cell in row] for row in (header, *rows)]
            return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
        case Gallery(shown):
            captions = [_escape_markdown(p.caption) for p in shown]
            links = [f"![{c}]({picture_dir}/{p.name}.png)" for p, c in zip(shown, captions, strict=True)]
            return "\n\n".join(f"{link}\n\n{caption}" for link, caption in zip(links, captions, strict=True))
        case Listing(summary, text):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            opened = f"<details><summary>{html.escape(summary)}</summary>"
            return f"{opened}\n\n{fence}\n{text.rstrip()}\n{fence}\n\n</details>"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Table(header, rows, align):
            head = "".join(f'<th class="{a}">{html.escape(c)}</th>' for a, c in zip(align, header, strict=True))
            body = "\n".join("<tr>" + "".join(map(_cell, align, row)) + "</tr>" for row in rows)
            return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
        case Gallery(shown):
            return '<div class="gallery">' + "\n".join(map(_figure, shown)) + "</div>"
        case Listing(summary, text):
            return f"<details><summary>{html.escape(summary)}</summary><pre>{html.escape(text)}</pre></details>"


def _cell(align: str, text: str) -> str:
    return f'<td class="{align}">{html.escape(text)}</td>'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    caption = html.escape(picture.caption)
    image = f'<img src="data:image/png;base64,{data}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


_CSS = """
body { max-width: 68rem; margin: 2rem auto 4rem; padding: 0 1.2rem; color: #24292f; line-height: 1.5;
       font-family: system-ui, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "PingFang SC", sans-serif; }
h1 { font-size: 1.7rem; margin-bottom: .4rem; }
h2 { font-size: 1.25rem; margin-top: 2.4rem; border-bottom: 1px solid #d8dee4; padding-bottom: .3rem; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0; color: #454c54; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: #454c54; border-bottom: 2px solid #c9d1d9; }
th, td { padding: .28rem .75rem .28rem 0; vertical-align: top; }
th + th, td + td { padding-left: .35rem; }
td { border-bottom: 1px solid #eaeef2; }
.r { text-align: right; white-space: nowrap; }
tbody tr:hover { background: #f6f8fa; }
.gallery { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
figure { margin: .6rem 0; max-width: 100%; }
figure img { max-width: 100%; zoom: .77; }
figcaption { color: #57606a; font-size: .82rem; max-width: 40rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; color: #2f6fb3; }
pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; font-size: .8rem; }
"""
