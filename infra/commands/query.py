"""`aios query 'select …' | NAME | --list | --views`: SQL over the lake, read only; needs no running system.

Enters: one SELECT, or the name of a shipped query. Leaves: a table, or JSON. The views are named by topic:
case_decided, event_refused, review_requested, inference_completed, aios_plan_dlq …, and dead_letters for all of them.
"""

from __future__ import annotations

import re
import signal

import click

from aios.infra import output
from aios.infra.output import FAILED, NOT_FOUND, USAGE, fail
from aios.infra.running import load_settings
from aios.sinks import lake_query
from aios.sinks.lake import lake_folder
from aios.sinks.lake_query import QueryRefused


@click.command("query")
@click.argument("sql", required=False)
@click.option("--list", "list_", is_flag=True, help="The shipped queries.")
@click.option("--views", is_flag=True, help="The views, with their columns.")
@click.option("--limit", type=click.IntRange(1, lake_query.ROWS_MAX), default=1_000, show_default=True, help="Rows.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def query(*, sql: str | None, list_: bool, views: bool, limit: int, as_json: bool) -> None:
    """Run SQL, a SELECT or the name of a shipped query, over the lake."""
    lake = lake_folder(load_settings().home)
    if list_:
        known = [{"name": name, "answers": answers} for name, (answers, _) in lake_query.shipped().items()]
        output.rows(known, ("name", "answers"), as_json=as_json, none="")
    elif views:
        output.rows(lake_query.views(lake), ("view", "files", "columns"), as_json=as_json, none="")
    elif sql is None:
        fail("say what: a SELECT, the name of a shipped query, --list or --views", USAGE)
    else:
        _run(sql, limit, as_json)


def _run(sql: str, limit: int, as_json: bool) -> None:
    shipped = lake_query.shipped()
    if re.fullmatch(r"[\w-]+", sql):
        name = sql.replace("-", "_")
        if name not in shipped:
            fail(f"there is no query {sql}: {', '.join(shipped)}", NOT_FOUND)
        sql = shipped[name][1]
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would hear Ctrl-C when DuckDB is done, if ever
    try:
        answer = lake_query.ask(lake_folder(load_settings().home), sql, rows_max=limit)
    except QueryRefused as error:
        fail(str(error), FAILED)
    finally:
        signal.signal(signal.SIGINT, before)
    output.rows(answer.plain(), answer.columns, as_json=as_json, none="no rows")
    if answer.cut:
        click.echo(f"only the first {limit} rows; --limit shows more", err=True)
