"""`aios cost report`: what was used and what it cost, by tenant, workflow, model, day.

Enters: the ledger in the lake; with --check, the same lines in Kafka too. Leaves: sums to the last unit. Guaranteed:
whatever it is by, the rows add up to the same total, which is that of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from aios.infra import output
from aios.infra.commands.operations import JSON
from aios.infra.commands.tenant import connected
from aios.infra.output import FAILED, USAGE, fail
from aios.infra.running import load_settings
from aios.schemas.codec import Codec
from aios.schemas.models import UsageSettled
from aios.sinks import ledger
from aios.sinks.lake import lake_folder
from aios.sinks.lake_query import QueryRefused
from aios.sinks.ledger import Line
from aios.streams import money
from aios.streams.admin import read_all
from aios.streams.config import Settings
from aios.streams.topics import USAGE_SETTLED

AMOUNTS = ("models", "people", "total", "wasted")


@click.group("cost")
def group() -> None:
    """What was used, and what it cost."""


@group.command()
@click.option("--by", default="tenant,workflow,model,day", show_default=True, help=f"Of {', '.join(ledger.KEYS)}.")
@click.option("--tenant", default="", help="Of this one alone.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From this day on, UTC.")
@click.option("--check", is_flag=True, help="Compare count and sum in Kafka and the lake; 1 if they differ.")
@JSON
def report(by: str, tenant: str, since: Any, check: bool, as_json: bool) -> None:
    """Sums of the ledger. Amounts are whole millionths with --json, else in money.currency.

    total is what models and people have cost; wasted (answers that came twice or too late) stands beside it.
    """
    keys = [key for key in by.replace(" ", "").split(",") if key]
    if unknown := [key for key in keys if key not in ledger.KEYS]:
        fail(f"a report is not by {unknown[0]}, but by {', '.join(ledger.KEYS)}", USAGE)
    settings = load_settings()
    day = f"{since:%Y-%m-%d}" if since else ""
    try:
        found = ledger.report(lake_folder(settings.home), keys, tenant=tenant, since=day)
    except QueryRefused as error:
        fail(str(error), FAILED)
    whole = ledger.added(found)
    if as_json:
        output.one({"currency": settings.money.currency, "by": keys, "rows": found, "sum": whole}, as_json=True)
    else:
        _table(settings, keys, found, whole)
    if check:
        _check()


def _table(settings: Settings, keys: list[str], found: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    last = dict.fromkeys(keys, "") | ({keys[0]: "sum"} if keys else {}) | whole
    rows = [
        row | {name: money.text(row[name]) for name in AMOUNTS} | {"engine_s": f"{row['engine_us'] / 1e6:.3f}"}
        for row in [*found, *([last] if keys else [])]
    ]
    columns = (*keys, "answers", "prompt_tokens", "output_tokens", "engine_s", *AMOUNTS)
    output.rows(rows, columns, as_json=False, none="the ledger is empty")
    click.echo(f"amounts in {settings.money.currency}; a person's time is what the workflow assumes", err=True)


def _check() -> None:
    """Raises Unavailable. Ends the command with FAILED when the two differ."""
    with connected() as (settings, codec):
        compared = ledger.compare(lake_folder(settings.home), _lines(settings, codec))
    later = f"; {compared.behind} lines are not in the lake yet" if compared.behind else ""
    if not compared.same:
        fail(f"of {compared.lines} lines Kafka says {compared.kafka}, the lake {compared.lake} (micro){later}", FAILED)
    click.echo(
        f"{compared.lines} lines, {money.text(compared.kafka)}: Kafka and the lake say the same{later}", err=True
    )


def _lines(settings: Settings, codec: Codec) -> Iterator[Line]:
    """The ledger as Kafka has it. Raises Unavailable, SchemaMismatch."""
    for record in read_all(settings.kafka, USAGE_SETTLED.name):
        yield Line(record.partition, record.offset, codec.decode(record.value, UsageSettled))
