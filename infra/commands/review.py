"""`aios review list|show|decide`: questions to people, through the gateway, as any reviewer's program would.

Enters: a gateway (GATEWAY, else the one that runs in this home) and an API key (KEY, else the one this home keeps for
its own tenant). Leaves: what the gateway answers; a decision
is a record on review.decided.v1 once it is said to be accepted, and the first valid one of a question wins.
"""

from __future__ import annotations

import http.client
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import click

from aios.infra import output
from aios.infra.output import FAILED, NOT_FOUND, NOT_RUNNING, USAGE, fail
from aios.infra.running import load_settings, running
from aios.streams import tenants

ANSWER_S_MAX = 15.0
TEXT_SHOWN = 80  # characters of a question's text in a list

_key = click.option("--key", envvar="KEY", help="API key of the tenant; default: KEY, else this home's own tenant's.")
_gateway = click.option("--gateway", envvar="GATEWAY", help="URL; default: GATEWAY, else the one that runs here.")
_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.group("review")
def group() -> None:
    """Questions to people: list, show, decide."""


@group.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@_gateway
@_key
@_json
def list_(limit: int, gateway: str | None, key: str | None, as_json: bool) -> None:
    """Open questions, the longest waiting first."""
    found = _ask(gateway, key, "GET", f"/v1/reviews?limit={limit}")
    output.rows(
        found if as_json else [_row(each) for each in found],
        ("task", "waits", "reasons", "suggestion", "confidence", "text"),
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
    found = _ask(gateway, key, "GET", f"/v1/reviews/{quote(task, safe='')}")
    if as_json:
        output.one(found, as_json=True)
        return
    choices, given = found.pop("choices"), found.pop("input")
    for name in ("requested_at", "expires_at"):
        found[name] = f"{datetime.fromtimestamp(found[name] / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    output.one(found, as_json=False)
    for name, value in given.items():
        if value:
            click.echo(f"\n{name}")
            output.text(str(value))
    click.echo("\nchoices")
    output.text(", ".join(choices))


@group.command()
@click.argument("task")
@click.option("--label", required=True, help="One of the question's choices.")
@click.option("--reviewer", required=True, help="Who decides.")
@click.option("--comment", default="", help="Why.")
@_gateway
@_key
@_json
def decide(
    *, task: str, label: str, reviewer: str, comment: str, gateway: str | None, key: str | None, as_json: bool
) -> None:
    """Answer a question."""
    decision = {"label": label, "reviewer": reviewer, "comment": comment}
    said = _ask(gateway, key, "POST", f"/v1/reviews/{quote(task, safe='')}/decision", decision)
    if as_json:
        output.one(said, as_json=True)
        return
    click.echo(f"accepted; `aios case show {said['case_id']}` shows what becomes of it")


def _row(task: dict[str, Any]) -> dict[str, Any]:
    waits_min = max(0, int(time.time() * 1000 - task["requested_at"])) // 60_000
    text = " ".join(str(task["input"].get("text", "")).split())
    return {
        "task": task["task_id"],
        "waits": f"{waits_min // 60} h {waits_min % 60} min",
        "reasons": task["reasons"],
        "suggestion": task["suggestion"],
        "confidence": f"{task['confidence']:.2f}",
        "text": text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…",
    }


def _ask(gateway: str | None, key: str | None, method: str, path: str, body: Any = None) -> Any:
    """The gateway's answer, or an exit that says what it said."""
    gateway = gateway or running().gateway
    if not gateway:
        fail("no gateway runs here: start a system with `aios up`, or set GATEWAY to the URL of one", NOT_RUNNING)
    settings = load_settings()
    key = key or tenants.kept_key(settings.home, settings.default_tenant)
    if not (key.isascii() and key.isprintable()):
        fail("the API key (--key or KEY) holds characters that no key has", USAGE)
    connection, base = _connection(gateway)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request(method, base + path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        said = json.load(answer)
    except (OSError, ValueError) as error:
        fail(f"the gateway at {gateway} does not answer: {error}", NOT_RUNNING)
    finally:
        connection.close()
    if answer.status == 401:
        fail(f"the gateway at {gateway} knows no such API key; --key or KEY gives another, `aios tenant add` makes one")
    if answer.status >= 400:
        fail(_why(said), {404: NOT_FOUND, 503: NOT_RUNNING}.get(answer.status, FAILED))
    return said


def _connection(gateway: str) -> tuple[http.client.HTTPConnection, str]:
    """To the URL's host, by TLS where it says https: the key is not for everybody's eyes. And its path."""
    url = urlsplit(gateway)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        return kinds[url.scheme](url.hostname or "", url.port, timeout=ANSWER_S_MAX), url.path.rstrip("/")
    except (KeyError, ValueError, http.client.InvalidURL):
        fail(f"{gateway} is no URL of a gateway: http://HOST:PORT or https://HOST", USAGE)


def _why(said: Any) -> str:
    """The problem's own words, and which case it is about."""
    if not isinstance(said, dict) or "detail" not in said:
        return "the answer is none of a gateway's"
    about = f"; `aios case show {said['case_id']}` shows what became of it" if "case_id" in said else ""
    return f"{said['detail']}{about}"
