"""What a command prints: tables for people, JSON for scripts; and the exit codes of every command.

0  done           1  it failed          2  wrong usage
3  no such thing  4  nothing runs here, or it does not answer
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import click
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

FAILED, USAGE, NOT_FOUND, NOT_RUNNING = 1, 2, 3, 4
PIPED_WIDTH = 240  # of a table that no terminal shows
GAP = 2  # columns between two of a table


def rows(found: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, none: str) -> None:
    """A table of these columns, or the rows whole as JSON. none: what to say when there is nothing.

    Where a terminal is too narrow for the table's words, each row is a block: an id is copied, so it is never cut.
    """
    if as_json:
        _json(list(found))
        return
    if not found:
        click.echo(none)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    cells = [[_cell(row.get(column)) for column in columns] for row in found]
    widths = _widths([*cells, list(columns)], console.width)
    if not widths:
        for first, *rest in cells:
            console.print(Text(first, style="bold"), soft_wrap=True)
            for line in _packed(columns[1:], rest, console.width - GAP):
                console.print(Padding(line, (0, 0, 0, GAP)))
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width)
    for row in cells:
        table.add_row(*map(Text, row))  # Text: brackets are no markup
    console.print(table)


def one(found: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing, a line a field, or JSON."""
    if as_json:
        _json(dict(found))
        return
    width = max((len(name) for name in found), default=0)
    for name, value in found.items():
        click.echo(f"{name:<{width}}  {_cell(value)}")


def text(said: str) -> None:
    """Paragraphs, as wide as the terminal."""
    Console().print(Text(_cell(said)), soft_wrap=not Console().is_terminal)


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Say what is wrong and what to do, and leave. Raises click's Exit."""
    click.echo(f"Error: {message}", err=True)
    raise click.exceptions.Exit(status)


def _widths(lines: Sequence[Sequence[str]], room: int) -> list[int]:
    """Of each column; empty if the longest words alone take more than the room. Who lacks least is served first."""
    columns = list(zip(*lines, strict=True))
    whole = [max(cell_len(line) for cell in column for line in cell.splitlines() or [""]) for column in columns]
    widths = [max((cell_len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    left = room - sum(widths) - GAP * (len(columns) - 1)
    if left < 0:
        return []
    for at in sorted(range(len(columns)), key=lambda at: whole[at] - widths[at]):
        more = min(left, whole[at] - widths[at])
        widths[at] += more
        left -= more
    return widths


def _json(found: Any) -> None:
    click.echo(json.dumps(_finite(found), indent=2, ensure_ascii=False, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    """NaN and infinities are no JSON: null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _packed(names: Sequence[str], cells: Sequence[str], room: int) -> Iterator[Text]:
    """Lines of `name value`, as many on each as it holds."""
    line = Text()
    for name, cell in zip(names, cells, strict=True):
        if not cell:
            continue
        one_more = Text.assemble((name, "dim"), " ", cell)
        if line and line.cell_len + GAP + one_more.cell_len > room:
            yield line
            line = Text()
        line = line + " " * GAP + one_more if line else one_more
    if line:
        yield line


def _cell(value: Any) -> str:
    """For a terminal: what a stranger wrote into a record moves no cursor."""
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)
