"""`aios case tell`: what happened to an open case, and its workflow waits for.

In: a case, the word that the workflow's wait names, and fields. Out: case.told.v1, through the gateway: as the case's
producer with its API key, else as an operator.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from aios.infra import client, output
from aios.infra.commands import operations
from aios.infra.commands.operations import JSON
from aios.infra.output import USAGE, fail
from aios.streams import ingest


@click.command()
@click.argument("case")
@click.argument("kind")
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="A field of what happened, as text.")
@click.option("--body", default="", metavar="JSON", help="All of it, as a JSON object.")
@click.option("--once", default="", metavar="KEY", help="Tells it apart from the same event before.")
@click.option("--gateway", envvar="GATEWAY", help="URL; default: GATEWAY, else the one that runs here.")
@click.option("--key", envvar="KEY", help="A tenant's API key, to tell as its producer; default: KEY, else a token.")
@client.token_file
@JSON
def tell(
    *,
    case: str,
    kind: str,
    sets: tuple[str, ...],
    body: str,
    once: str,
    gateway: str | None,
    key: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Tell CASE that KIND happened. The same kind and fields are the same event."""
    said = _body(body) | dict(_field(each) for each in sets)
    if once and not ingest.KEY.fullmatch(once):
        fail("--once takes 1 to 256 printable ASCII characters", USAGE)
    server = operations.gateway(gateway, token_file, key)
    headers = {"Idempotency-Key": once} if once else {}
    path = f"/v1/cases/{quote(case, safe='')}/events"
    answer = client.ask(server, "POST", path, {"kind": kind, "body": said}, headers)
    if as_json:
        output.one(answer, as_json=True)
    else:
        click.echo(f"accepted; `aios case show {case}` shows what becomes of it")


def _body(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text or "{}")
    except ValueError as error:
        fail(f"--body is no JSON: {error}", USAGE)
    if not isinstance(said, dict):
        fail("--body is a JSON object", USAGE)
    return said


def _field(said: str) -> tuple[str, str]:
    name, equals, value = said.partition("=")
    if not name or not equals:
        fail(f"--set {said}: expected FIELD=VALUE", USAGE)
    return name, value
