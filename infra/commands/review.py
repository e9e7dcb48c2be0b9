"""`aios review list|show|claim|release|decide|stats`: questions to people, as any reviewer's program asks.

Enters: a gateway (GATEWAY, else the one that runs in this home), an API key to read with (KEY, else the one this home
keeps for its own tenant) or a reviewer's token, and one to claim and decide with (infra/client.py): the name in the
decision is the token's. Leaves: what the gateway answers; a decision is a record on review.decided.v1 once it is said
to be accepted, and the first valid one of a question wins. Who claims a question has it to themselves for a while.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from aios.infra import client, output
from aios.infra.client import Server
from aios.infra.commands.operations import JSON
from aios.infra.commands.review_stats import stats
from aios.infra.running import gateway_url, load_settings
from aios.streams import principals, tenants
from aios.streams.durations import MINUTE_MS
from aios.streams.wall_clock import wall_ms

PAGE_MAX = 200  # questions that a gateway lists at once
TEXT_SHOWN = 80  # characters of a question's text in a list
VALUE_SHOWN = 600  # of one value inside what is asked about, such as a document in base64

_key = click.option("--key", envvar="KEY", help="API key of the tenant; default: KEY, else this home's own tenant's.")
_token = click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="To read as a reviewer instead: a file with a token. Where there is no key: AIOS_TOKEN.",
)
_gateway = click.option("--gateway", envvar="GATEWAY", help="URL; default: GATEWAY, else the one that runs here.")


@click.group("review")
def group() -> None:
    """Questions to people: list, show, claim, release, decide, stats."""


group.add_command(stats)


@group.command("list")
@click.option("--limit", type=click.IntRange(1, PAGE_MAX), default=50, show_default=True)
@click.option("--after", default="", help="The last question of the page before.")
@_gateway
@_key
@_token
@JSON
def list_(
    *, limit: int, after: str, gateway: str | None, key: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Open questions, the longest waiting first."""
    found = _page(_reader(gateway, key, token_file), limit, after)
    output.rows(
        found if as_json else [_row(each) for each in found],
        ("task", "workflow", "waits", "claimed", "reasons", "suggestion", "confidence", "text"),
        as_json=as_json,
        none="nobody is asked anything at this moment" if not after else "nobody is asked anything after that",
    )
    if len(found) == limit:
        click.echo(f"there may be more: --after {found[-1]['task_id']}", err=True)


@group.command()
@click.argument("task")
@_gateway
@_key
@_token
@JSON
def show(task: str, gateway: str | None, key: str | None, token_file: Path | None, as_json: bool) -> None:
    """One question: its text, why it is asked, what may be chosen. Who reads it by a token has opened it."""
    found = client.ask(_reader(gateway, key, token_file), "GET", f"/v1/reviews/{quote(task, safe='')}")
    if as_json:
        output.one(found, as_json=True)
        return
    choices, given, evidence = found.pop("choices"), found.pop("input"), found.pop("evidence")
    for name in ("requested_at", "expires_at", "claimed_until"):
        found[name] = f"{datetime.fromtimestamp(found[name] / 1000, UTC):%Y-%m-%d %H:%M:%S}" if found[name] else ""
    output.one(found, as_json=False)
    for name, value in (*given.items(), *evidence.items()):
        if value:
            click.echo(f"\n{name}")
            output.text("\n".join(_lines(value)))
    click.echo("\nchoices")
    output.text(", ".join(choices))


@group.command()
@click.argument("task", required=False)
@_gateway
@client.token_file
@JSON
def claim(task: str | None, gateway: str | None, token_file: Path | None, as_json: bool) -> None:
    """Take TASK in hand, or the most urgent that you may answer. Nobody else may then; again: for as long once more."""
    path = _path(task, "claim") if task is not None else "/v1/reviews/claim"
    said = client.ask(_reviewer(gateway, token_file), "POST", path)
    if as_json:
        output.one(said, as_json=True)
        return
    until = f"{datetime.fromtimestamp(said['claimed_until'] / 1000, UTC):%H:%M:%S} UTC"
    click.echo(f"{said['task_id']} is yours until {until}; `aios review show {said['task_id']}`")


@group.command()
@click.argument("task")
@_gateway
@client.token_file
@JSON
def release(task: str, gateway: str | None, token_file: Path | None, as_json: bool) -> None:
    """Give TASK back, for others to take."""
    said = client.ask(_reviewer(gateway, token_file), "POST", _path(task, "release"))
    if as_json:
        output.one(said, as_json=True)
        return
    click.echo(f"{task} is free")


@group.command()
@click.argument("task")
@click.option("--label", required=True, help="One of the question's choices.")
@click.option("--comment", default="", help="Why.")
@_gateway
@client.token_file
@JSON
def decide(*, task: str, label: str, comment: str, gateway: str | None, token_file: Path | None, as_json: bool) -> None:
    """Answer a question, under the name that the token belongs to."""
    decision = {"label": label, "comment": comment}
    said = client.ask(_reviewer(gateway, token_file), "POST", _path(task, "decision"), decision)
    if as_json:
        output.one(said, as_json=True)
        return
    click.echo(f"accepted; `aios case show {said['case_id']}` shows what becomes of it")


def _page(server: Server, limit: int, after: str) -> Any:
    more = f"&after={quote(after, safe='')}" if after else ""
    return client.ask(server, "GET", f"/v1/reviews?limit={limit}{more}")


def _path(task: str, what: str) -> str:
    return f"/v1/reviews/{quote(task, safe='')}/{what}"


def _reviewer(gateway: str | None, token_file: Path | None) -> Server:
    """The gateway, for who decides."""
    token = client.token(load_settings(), token_file, principals.OPERATOR)
    return Server("the gateway", gateway_url(gateway), token, "aios principal add NAME --role reviewer")


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
    waits_min = max(0, wall_ms() - task["requested_at"]) // MINUTE_MS
    given = task["input"]
    first = next((value for value in given.values() if value and isinstance(value, str)), "")
    text = " ".join(str(given.get("text") or given.get("applicant_name") or first).split())
    return {
        "task": task["task_id"],
        "workflow": task["workflow"],
        "waits": f"{waits_min // 60} h {waits_min % 60} min",
        "claimed": task["claimed_by"],
        "reasons": task["reasons"],
        "suggestion": task["suggestion"],
        "confidence": f"{task['confidence']:.2f}",
        "text": text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…",
    }


def _reader(gateway: str | None, key: str | None, token_file: Path | None) -> Server:
    """The gateway, for who reads: by the file, else the key, else as this home's own tenant, else by AIOS_TOKEN."""
    settings = load_settings()
    bearer = "" if token_file is not None else key or tenants.kept_key(settings.home, settings.default_tenant)
    return Server("the gateway", gateway_url(gateway), bearer or client.named(settings, token_file), "aios tenant add")
