"""What a command prints: tables for people, JSON for scripts; and the exit codes of every command.

0  done           1  it failed          2  wrong usage
3  no such thing  4  nothing runs here, or it does not answer
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

FAILED, USAGE, NOT_FOUND, NOT_RUNNING = 1, 2, 3, 4


def rows(found: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, none: str) -> None:
    """A table of these columns, or the rows whole as JSON. none: what to say when there is nothing."""
    if as_json:
        click.echo(json.dumps(list(found), indent=2, ensure_ascii=False, default=str))
        return
    if not found:
        click.echo(none)
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in found:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))  # Text: brackets are no markup
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)


def one(found: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing, a line a field, or JSON."""
    if as_json:
        click.echo(json.dumps(dict(found), indent=2, ensure_ascii=False, default=str))
        return
    width = max((len(name) for name in found), default=0)
    for name, value in found.items():
        click.echo(f"{name:<{width}}  {_cell(value)}")


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Say what is wrong and what to do, and leave. Raises click's Exit."""
    click.echo(f"Error: {message}", err=True)
    raise click.exceptions.Exit(status)


def _cell(value: Any) -> str:
    """For a terminal: what a stranger wrote into a record moves no cursor."""
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)
