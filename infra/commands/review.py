"""`aios review list|show|decide|stats`: questions to people, through the gateway, as any reviewer's program would.

Enters: a gateway (GATEWAY, else the one that runs in this home), an API key to read with (KEY, else the one this home
keeps for its own tenant), and a reviewer's token to decide with (infra/client.py): the name in the decision is the
token's. Leaves: what the gateway answers; a decision is a record on review.decided.v1 once it is said to be accepted,
and the first valid one of a question wins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from aios.infra import client, output
from aios.infra.client import Server
from aios.infra.commands.review_stats import stats
from aios.infra.running import gateway_url, load_settings
from aios.streams import principals, tenants

TEXT_SHOWN = 80  # characters of a question's text in a list
VALUE_SHOWN = 600  # of one value inside what is asked about, such as a document in base64

_key = click.option("--key", envvar="KEY", help="API key of the tenant; default: KEY, else this home's own tenant's.")
_gateway = click.option("--gateway", envvar="GATEWAY", help="URL; default: GATEWAY, else the one that runs here.")
_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.group("review")
def group() -> None:
    """Questions to people: list, show, decide, stats."""


group.add_command(stats)


@group.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@_gateway
@_key
@_json
def list_(limit: int, gateway: str | None, key: str | None, as_json: bool) -> None:
    """Open questions, the longest waiting first."""
    found = client.ask(_tenant(gateway, key), "GET", f"/v1/reviews?limit={limit}")
    output.rows(
        found if as_json else [_row(each) for each in found],
        ("task", "workflow", "waits", "reasons", "suggestion", "confidence", "text"),
        as_json=as_json,
        none="nobody is asked anything at this moment",
    )


@group.command()
@click.argument("task")
@_gateway
@_key
@_json
def show(task: str, gateway: str | None, key: str | None, as_json: bool) -> None:
    """One question: its text, why it is asked, what may be chosen."""
    found = client.ask(_tenant(gateway, key), "GET", f"/v1/reviews/{quote(task, safe='')}")
    if as_json:
        output.one(found, as_json=True)
        return
    choices, given, evidence = found.pop("choices"), found.pop("input"), found.pop("evidence")
    for name in ("requested_at", "expires_at"):
        found[name] = f"{datetime.fromtimestamp(found[name] / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    output.one(found, as_json=False)
    for name, value in (*given.items(), *evidence.items()):
        if value:
            click.echo(f"\n{name}")
            output.text("\n".join(_lines(value)))
    click.echo("\nchoices")
    output.text(", ".join(choices))


@group.command()
@click.argument("task")
@click.option("--label", required=True, help="One of the question's choices.")
@click.option("--comment", default="", help="Why.")
@_gateway
@client.token_file
@_json
def decide(*, task: str, label: str, comment: str, gateway: str | None, token_file: Path | None, as_json: bool) -> None:
    """Answer a question, under the name that the token belongs to."""
    token = client.token(load_settings(), token_file, principals.OPERATOR)
    server = Server("the gateway", gateway_url(gateway), token, "aios principal add NAME --role reviewer")
    decision = {"label": label, "comment": comment}
    said = client.ask(server, "POST", f"/v1/reviews/{quote(task, safe='')}/decision", decision)
    if as_json:
        output.one(said, as_json=True)
        return
    click.echo(f"accepted; `aios case show {said['case_id']}` shows what becomes of it")


def _lines(value: Any, depth: int = 0) -> Iterator[str]:
    """A value for people: what is in it a line each, indented; empty ones are left out, long ones cut."""
    indent = "  " * depth
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, Mapping | list) and inner:
                yield f"{indent}{name}:"
                yield from _lines(inner, depth + 1)
            elif inner not in ("", [], {}, None):
                yield f"{indent}{name}: {_cut(inner)}"
    elif isinstance(value, list):
        for number, inner in enumerate(value, start=1):
            if isinstance(inner, Mapping | list):
                yield f"{indent}{number}"
                yield from _lines(inner, depth + 1)
            else:
                yield f"{indent}{_cut(inner)}"
    else:
        yield from (f"{indent}{line}" for line in str(value).split("\n"))


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}… ({len(text)} characters)"


def _row(task: dict[str, Any]) -> dict[str, Any]:
    waits_min = max(0, int(time.time() * 1000 - task["requested_at"])) // 60_000
    given = task["input"]
    first = next((value for value in given.values() if value and isinstance(value, str)), "")
    text = " ".join(str(given.get("text") or given.get("applicant_name") or first).split())
    return {
        "task": task["task_id"],
        "workflow": task["workflow"],
        "waits": f"{waits_min // 60} h {waits_min % 60} min",
        "reasons": task["reasons"],
        "suggestion": task["suggestion"],
        "confidence": f"{task['confidence']:.2f}",
        "text": text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…",
    }


def _tenant(gateway: str | None, key: str | None) -> Server:
    """The gateway, for those who read as a tenant."""
    settings = load_settings()
    key = key or tenants.kept_key(settings.home, settings.default_tenant)
    return Server("the gateway", gateway_url(gateway), key, "aios tenant add")
