"""What `aios dlq`, `aios replay` and `aios breaker` share: the operations server, filters, and commands with answers.

Enters: options of a command line. Leaves: requests to operations as one of two principals of this home (or as whoever
AIOS_TOKEN or --token-file says), and what it answers. The command line can do nothing that HTTP cannot.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.progress import Progress

from aios.dlq.commands import REASON_CHARS_MAX
from aios.infra import client
from aios.infra.client import Server
from aios.infra.output import FAILED, NOT_RUNNING, USAGE, fail
from aios.infra.running import gateway_url, load_settings, operations_url
from aios.streams import topology
from aios.streams.errors import Reason
from aios.streams.principals import APPROVER, OPERATOR
from aios.streams.wall_clock import wall_ms

ASKS_MAX = 6  # for an answer that is late; each waits as long as the server does
PAGE_MAX = 1_000  # of what is asked for at once
GROUPS = sorted(stage.group for stage in topology.STAGES if stage.reads)
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

JSON = click.option("--json", "as_json", is_flag=True, help="For scripts.")
WHY = click.option("--why", default="", help=f"For the audit; {REASON_CHARS_MAX} characters at most.")
TOKEN = client.token_file


def operator(file: Path | None) -> Server:
    """Operations, as the home's operator unless somebody else is named."""
    return _server(file, OPERATOR)


def approver(file: Path | None) -> Server:
    """Operations, as the home's approver unless somebody else is named."""
    return _server(file, APPROVER)


def _server(file: Path | None, own: str) -> Server:
    token = client.token(load_settings(), file, own)
    return Server("the operations server", operations_url(), token, "aios principal add NAME --role ROLE")


def gateway(url: str | None, file: Path | None, key: str | None = None) -> Server:
    """The gateway, as an operator. url: instead of the one that runs here; key: as the tenant it belongs to, unless a
    file says who asks: most keys are in the environment for other commands.
    """
    bearer = key if key and file is None else client.token(load_settings(), file, OPERATOR)
    return Server("the gateway", gateway_url(url), bearer, "aios principal add NAME --role operator")


def act(server: Server, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A command, and what became of it. One whose answer does not come is done all the same, once."""
    key = str(uuid.uuid4())
    for _ in range(ASKS_MAX):
        said: dict[str, Any] = client.ask(server, "POST", path, body, {"Idempotency-Key": key})
        if said["status"] != "asked":
            return said
    fail(f"command {said['command_id']} is in Kafka and not answered yet; `aios logs replay` may say why", FAILED)


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Options that select dead letters, as `wanted`: what HTTP calls a filter."""

    @wraps(command)
    def selecting(
        *,
        group: str | None,
        reason: str | None,
        fingerprint: str,
        tenant: str,
        since: int,
        until: int,
        key: str,
        ids: tuple[str, ...],
        expression: str,
        **rest: Any,
    ) -> None:
        told = {
            "group": group,
            "reason": reason,
            "fingerprint": fingerprint,
            "tenant": tenant,
            "since": since,
            "until": until,
            "key": key,
            "ids": [one.lower() for one in ids],
            "expression": expression,
        }
        command(wanted={name: value for name, value in told.items() if value}, **rest)

    for option in (
        click.option(
            "--where", "expression", default="", help="CEL over letter, headers and value; reads each record."
        ),
        click.option("--id", "ids", multiple=True, help="Its id or the beginning; several times."),
        click.option("--key", default="", help="The record's own key."),
        click.option("--until", type=TIME, default=0, help="Failed before: 2026-01-31, 2026-01-31T12:00Z, or 2h ago."),
        click.option("--since", type=TIME, default=0, help="Failed then or later: as --until."),
        click.option("--tenant", default="", help="As the record's header says."),
        click.option("--fingerprint", default="", help="One kind of failure; see `aios dlq groups`."),
        click.option("--reason", type=click.Choice(sorted(each.value for each in Reason))),
        click.option("--group", type=click.Choice(GROUPS), help="The consumer group that failed."),
    ):
        selecting = option(selecting)
    return selecting


class _Time(click.ParamType):
    """A time, or how long ago: Unix ms."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        ago = re.fullmatch(r"(\d{1,6})([smhd])( ago)?", value.strip())
        if ago:
            return wall_ms() - int(ago[1]) * UNITS_S[ago[2]] * 1000
        try:
            at = datetime.fromisoformat(value.strip())
        except ValueError:
            self.fail(f"{value} is no time: 2026-01-31, 2026-01-31T12:00Z, 30m, 2h or 7d", param, ctx)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


TIME = _Time()


def query(wanted: Mapping[str, Any], **more: Any) -> str:
    """The filter, and more, behind a path."""
    names = {"ids": "id", "expression": "where"}
    told = {names.get(name, name): value for name, value in wanted.items()}
    return "?" + urlencode(told | {name: value for name, value in more.items() if value}, doseq=True)


def scan(server: Server, path: str, name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What stands in a scan's lines of this name, with a bar for people while records are read; and what it left out.

    That is scanned, of, found, unclear, gone: as a scan's progress has them. more: it stopped at its limit.
    """
    found: list[dict[str, Any]] = []
    said: dict[str, Any] = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Reading records", total=None)
        for line in client.lines(server, path):
            if name in line:
                found.append(line[name])
            elif "progress" in line:
                said |= line["progress"]
                progress.update(task, completed=said["scanned"], total=said["of"] or None)
            elif "end" in line:
                return found, said | line["end"]
            elif "error" in line:
                fail(line["error"]["detail"], NOT_RUNNING)
    fail(f"{server.what} ended before it had read all records; `aios logs operations` may say why", NOT_RUNNING)


def paged(server: Server, path: str, name: str, limit: int = 0, **asked: Any) -> tuple[list[dict[str, Any]], str]:
    """What stands under a name in a route's pages, as many as the limit (0: all), and the cursor of the next page.

    asked: the first page's query; its `cursor` is where it begins.
    """
    found: list[dict[str, Any]] = []
    cursor = asked.pop("cursor", "")
    while True:
        most = min(limit - len(found), PAGE_MAX) if limit else PAGE_MAX
        page = client.ask(server, "GET", f"{path}{query({}, **asked, limit=most, cursor=cursor)}")
        found += page[name]
        cursor = page["cursor"]
        if not cursor or (limit and len(found) >= limit):
            return found, cursor


def at(ms: int | None) -> str:
    """A time for people."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ms else ""


def patch_of(given: str) -> Any:
    """A JSON Patch, or an exit. given: itself, or @ and the name of a file."""
    try:
        said = Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given
        return json.loads(said)
    except (OSError, ValueError) as error:
        fail(f"--patch is no JSON: {error}", USAGE)
