"""`aios breaker list|close`: partitions that pause and tenants that are slowed, until a person says they may go on; and
outside systems (`system/<name>`) and endpoints (`endpoint/<system>/<tenant>/<name>`) that are away, which are tried
again by themselves.

Enters: a breaker's key. Leaves: what the operations server says, and the command that closes one.
"""

from __future__ import annotations

from pathlib import Path

import click

from aios.infra import client
from aios.infra.commands.operations import JSON, TOKEN, WHY, act, at, operator, query
from aios.infra.output import one, rows, text

LIST = ("key", "state", "reason", "failed", "settled", "fingerprint", "by", "changed", "since")


@click.group("breaker")
def group() -> None:
    """What pauses: partitions of a broken stage, tenants with bad data, commands to what is away outside."""


@group.command("list")
@click.option("--all", "everything", is_flag=True, help="Closed ones too.")
@TOKEN
@JSON
def list_(everything: bool, token_file: Path | None, as_json: bool) -> None:
    """Open breakers, with what to do."""
    found = client.ask(operator(token_file), "GET", f"/v1/breakers{query({}, all='true' if everything else '')}")
    shown = (
        found if as_json else [each | {"changed": at(each["changed_at"]), "since": at(each["since"])} for each in found]
    )
    rows(shown, LIST, as_json=as_json, none="No breaker is open.")
    if not as_json:
        for each in found:
            if each["state"] != "closed" and each["action"]:
                text(f"\n{each['key']}: {each['action']}")


@group.command()
@click.argument("key")
@WHY
@TOKEN
@JSON
def close(key: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let a partition, tenant, system or endpoint go on at once. Audited."""
    said = act(operator(token_file), "/v1/breakers/close", {"key": key, "reason": why})
    if as_json:
        one(said, as_json=True)
        return
    click.echo(f"{key} is closed; it goes on within moments")
