"""HTML as text: everything that comes from outside passes `escape`, and tables are the one way to show numbers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_NOT_PRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Also what turns the direction of a text or hides it: a name must not look like another."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    is_number: bool = False


@dataclass(frozen=True)
class Row:
    """Cells of a row, not escaped yet; an emphasized row stands out."""

    cells: Sequence[str]
    is_emphasized: bool = False


def text(value: str) -> str:
    """Return a text that is safe between tags and in quoted attributes."""
    return escape(_NOT_PRINTABLE.sub("\ufffd", value))


def slug(title: str) -> str:
    """Return a title as an id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def table(caption: str, columns: Sequence[Column], rows: Iterable[Row]) -> str:
    """Return a table in a box that scrolls by itself where it is wider than the screen; its first cells are headers."""
    head = "".join(f'<th scope="col"{_class(column)}>{text(column.title)}</th>' for column in columns)
    body = "".join(_row(columns, row) for row in rows)
    return (
        f'<div class="wide" role="region" aria-label="{text(caption)}" tabindex="0"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and values, as a description list."""
    items = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return f"<dl>{items}</dl>"


def section(title: str, *parts: str) -> str:
    """Return a section with a heading; the parts are markup."""
    name = slug(title)
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{text(title)}</h2>{"".join(parts)}</section>'


def paragraph(content: str) -> str:
    """Return a paragraph."""
    return f"<p>{text(content)}</p>"


def _row(columns: Sequence[Column], row: Row) -> str:
    first, *others = zip(columns, row.cells, strict=True)
    cells = "".join(f"<td{_class(column)}>{text(cell)}</td>" for column, cell in others)
    emphasis = ' class="emphasized"' if row.is_emphasized else ""
    return f'<tr{emphasis}><th scope="row"{_class(first[0])}>{text(first[1])}</th>{cells}</tr>'


def _class(column: Column) -> str:
    return ' class="number"' if column.is_number else ""
