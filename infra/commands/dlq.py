"""`aios dlq groups|list|show|edit|approve|discard|restore|free`: what failed, why, and how it is repaired.

Enters: filters, an id or its beginning. Leaves: what the operations server says, and commands to it. How it comes back
is `aios replay`.
"""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from aios.dlq import envelope
from aios.dlq.commands import short
from aios.dlq.index_layout import State
from aios.infra import client
from aios.infra.commands.operations import (
    JSON,
    TOKEN,
    WHY,
    act,
    approver,
    at,
    filters,
    operator,
    patch_of,
    query,
    scan,
)
from aios.infra.output import USAGE, fail, one, rows, text
from aios.streams.durations import DAY_MS
from aios.streams.wall_clock import wall_ms

KEY_CHARS = 24
TIMES = ("first_failed_at", "failed_at")
LIST = ("id", "group", "reason", "key", "state", "attempts", "replays", "failed_at", "days_left")
GROUPED = ("group", "reason", "count", "oldest", "fingerprint", "example")
STATES = [*(each.value for each in State), "unresolved", "all"]
SHOWN = (
    *("id", "state", "group", "reason", "class", "hint", "error", "message", "where", "fingerprint", "tenant", "key"),
    *("attempts", "replays", "first_failed_at", "failed_at", "returns_until", "size", "sha256", "came_from", "lies_at"),
    "last_change",
)


@click.group("dlq")
def group() -> None:
    """Dead letters: what failed, why, and repairing it.

    A dead letter is a record that a stage could not process, with its original bytes and the reason. It waits until
    a replay job (`aios replay`) returns it to the group that failed, and to no other, or until it is discarded.
    """


@group.command("groups")
@filters
@click.option("--state", type=click.Choice(STATES), default="unresolved", show_default=True)
@TOKEN
@JSON
def groups_(wanted: dict[str, Any], state: str, token_file: Path | None, as_json: bool) -> None:
    """Dead letters by kind of failure, with what to do."""
    server, asked = operator(token_file), query(wanted, state=state)
    if "expression" in wanted:
        found, said = scan(server, f"/v1/dead-letters/groups/scan{asked}", "group")
        _left_out(said)
    else:
        found = client.ask(server, "GET", f"/v1/dead-letters/groups{asked}")
    shown = (
        found
        if as_json
        else [each | {"oldest": at(each["oldest_at"]), "example": short(each["example"])} for each in found]
    )
    rows(shown, GROUPED, as_json=as_json, none="No such dead letters.")
    if not as_json:
        for reason, hint in {each["reason"]: each["hint"] for each in found if each["hint"]}.items():
            click.echo(f"\n{reason}: {hint}")


@group.command("list")
@filters
@click.option("--state", type=click.Choice(STATES), default="unresolved", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", default="", help="Of the page before; --json says it.")
@TOKEN
@JSON
def list_(
    *, wanted: dict[str, Any], state: str, limit: int, cursor: str, token_file: Path | None, as_json: bool
) -> None:
    """Dead letters, newest first. With --json an object: `letters`, `cursor` of the next page, `total`.

    With --where it has no pages; --json has `more` if it stopped at --limit, `unclear`: of how many the expression said
    nothing, and `gone`: whose records Kafka does not hold any more.
    """
    if cursor and "expression" in wanted:
        fail("--where has no pages: raise --limit, or go on with --until", USAGE)
    server = operator(token_file)
    if "expression" in wanted:
        path = f"/v1/dead-letters/scan{query(wanted, state=state, limit=limit)}"
        letters, said = scan(server, path, "letter")
        found: dict[str, Any] = {"letters": letters, **said, "cursor": "", "total": None}
        _left_out(said)
    else:
        path = f"/v1/dead-letters{query(wanted, state=state, limit=limit, cursor=cursor)}"
        found = client.ask(server, "GET", path)
    if as_json:
        one(found, as_json=True)
        return
    rows([_row(each) for each in found["letters"]], LIST, as_json=False, none="No such dead letters.")
    if found["cursor"]:
        click.echo(f"… of {found['total']}; the next ones: --cursor {found['cursor']}")


def _left_out(said: dict[str, Any]) -> None:
    """Say on stderr what a scan did not decide or did not read: none found is not none there."""
    if said["unclear"]:
        click.echo(
            f"The expression says nothing of {said['unclear']} of {said['scanned']}: neither true nor false, or a"
            " field or header that they do not have. `aios dlq show ID` shows what one has; has(value.x) asks first.",
            err=True,
        )
    if said["gone"]:
        click.echo(f"{said['gone']} of {said['scanned']} are not in Kafka any more, and were passed over.", err=True)
    if said["more"]:
        click.echo("There may be more: raise --limit (1000 at most), or go on with --until.", err=True)


@group.command()
@click.argument("letter_id", metavar="ID")
@click.option("--personal", is_flag=True, help="Personal fields too; that you asked for them is audited.")
@TOKEN
@JSON
def show(letter_id: str, personal: bool, token_file: Path | None, as_json: bool) -> None:
    """One dead letter: why it failed, what it holds, and its edit."""
    found = _show(operator(token_file), letter_id, personal=personal)
    if as_json:
        one(found, as_json=True)
        return
    told = found | {
        "replays": _replays(found),
        "last_change": _change(found["changed"]) if found["changed"] else "",
        "came_from": f"{found['orig_topic']}/{found['orig_partition']}/{found['orig_offset']}",
        "lies_at": found["place"],
        "returns_until": f"{at(found['returns_until'])} ({_days_left(found)} days left)",
        **{name: at(found[name]) for name in TIMES},
    }
    one({name: told[name] for name in SHOWN if told[name] not in ("", None)}, as_json=False)
    trace = found["shown"]["headers"].get(f"{envelope.PREFIX}error.trace", "")
    if trace:
        click.echo("\ntrace, innermost last")
        for line in trace.splitlines():
            text(f"  {line}")
    _value("value", found["shown"])
    headers = {name: value for name, value in found["shown"]["headers"].items() if not name.startswith(envelope.PREFIX)}
    if headers:
        click.echo("\nheaders, beside those of dead letters (--json has all)")
        one({f"  {name}": value for name, value in headers.items()}, as_json=False)
    if found["edit"] is not None:
        _edit(found["edit"])
    hidden = found["shown"]["redacted"]
    if hidden:
        click.echo(f"\nleft out: {', '.join(hidden)}; --personal shows it, and the audit will say that you asked")
    if found["state"] == State.QUARANTINED or (found["edit"] or {}).get("quarantined"):
        click.echo(
            f"\nReplays did not help. When its cause is gone, an approver frees it: aios dlq free {short(found['id'])}"
        )
    elif found["state"] in (State.OPEN, State.EDITED):
        click.echo(f"\nWhen its cause is gone: aios replay plan --id {short(found['id'])}")


@group.command()
@click.argument("letter_id", metavar="ID")
@click.option("--patch", "patch", help="RFC 6902, as JSON, or @FILE: of the value as `show` has it.")
@click.option("--bytes", "repaired", type=click.File("rb"), help="Replacement bytes, Confluent framing included.")
@WHY
@TOKEN
@JSON
def edit(*, letter_id: str, patch: str | None, repaired: Any, why: str, token_file: Path | None, as_json: bool) -> None:
    """Repair one dead letter. Another principal approves it before it may return."""
    if (patch is None) == (repaired is None):
        fail("give either --patch or --bytes", USAGE)
    body: dict[str, Any] = {"reason": why}
    if repaired is not None:
        body["value_base64"] = base64.b64encode(repaired.read()).decode("ascii")
    else:
        body["patch"] = patch_of(str(patch))
    said = act(operator(token_file), f"/v1/dead-letters/{quote(letter_id, safe='')}/edit", body)
    _done(said, f"edited; another principal approves it: aios dlq approve {short(said['object_id'])}", as_json)


@group.command()
@click.argument("letter_id", metavar="ID")
@click.option("--hash", "hash_after", help="SHA-256 of the edited value that you mean; default: as it is now.")
@WHY
@TOKEN
@JSON
def approve(letter_id: str, hash_after: str | None, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let an edit return that somebody else made. Looks at it first, and approves that and nothing later."""
    server = approver(token_file)
    if hash_after is None:
        waiting = _show(server, letter_id, personal=False)["edit"]
        if waiting is None:
            fail(f"{letter_id} has no edit that waits; `aios dlq edit` makes one")
        hash_after = waiting["hash_after"]
        if not as_json:
            _edit(waiting)
            if waiting["shown"]["redacted"]:
                click.echo(
                    f"\nleft out here; `aios dlq show {short(letter_id)} --personal` shows all, and is audited\n"
                )
    body = {"reason": why, "hash_after": hash_after}
    said = act(server, f"/v1/dead-letters/{quote(letter_id, safe='')}/approve", body)
    _done(said, f"approved; it returns with a job: aios replay plan --id {short(said['object_id'])}", as_json)


@group.command()
@click.argument("letter_id", metavar="ID")
@WHY
@TOKEN
@JSON
def discard(letter_id: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Give one dead letter up; it is archived. Many: `aios replay plan --discard`."""
    said = act(operator(token_file), f"/v1/dead-letters/{quote(letter_id, safe='')}/discard", {"reason": why})
    _done(said, f"discarded; `aios dlq restore {short(said['object_id'])}` opens it again", as_json)
    key = said["result"].get("parked_key")
    if key and not as_json:
        click.echo(f"What is parked behind it stays until you return it: aios replay plan --key {shlex.quote(key)}")


@group.command()
@click.argument("letter_id", metavar="ID")
@WHY
@TOKEN
@JSON
def restore(letter_id: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Open a discarded dead letter again."""
    said = act(operator(token_file), f"/v1/dead-letters/{quote(letter_id, safe='')}/restore", {"reason": why})
    _done(said, "open again", as_json)


@group.command()
@click.argument("letter_id", metavar="ID")
@WHY
@TOKEN
@JSON
def free(letter_id: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let a quarantined dead letter return once more. Takes an approver."""
    said = act(approver(token_file), f"/v1/dead-letters/{quote(letter_id, safe='')}/free", {"reason": why})
    _done(said, "free to return once more", as_json)


def _show(server: client.Server, letter_id: str, *, personal: bool) -> dict[str, Any]:
    asked = query({}, personal="true" if personal else "")
    found: dict[str, Any] = client.ask(server, "GET", f"/v1/dead-letters/{quote(letter_id, safe='')}{asked}")
    return found


def _done(said: dict[str, Any], words: str, as_json: bool) -> None:
    if as_json:
        one(said, as_json=True)
        return
    click.echo(f"{said['object_id']}: {words}")


def _row(letter: dict[str, Any]) -> dict[str, Any]:
    """For a table."""
    key = letter["key"]
    if len(key) > KEY_CHARS:  # what tells keys apart stands at their ends more often than not
        key = f"{key[: KEY_CHARS // 3]}…{key[-(KEY_CHARS - KEY_CHARS // 3 - 1) :]}"
    times = {"failed_at": at(letter["failed_at"]), "replays": _replays(letter), "days_left": _days_left(letter)}
    return letter | times | {"id": short(letter["id"]), "key": key}


def _days_left(letter: dict[str, Any]) -> int:
    """In which its record may still return."""
    return max(0, int(letter["returns_until"]) - wall_ms()) // DAY_MS


def _replays(letter: dict[str, Any]) -> int:
    """So far."""
    return int(letter["generation"]) + (letter["state"] == State.REPLAYED)


def _change(changed: dict[str, Any]) -> str:
    """Who did what when, and why; perhaps before it failed again."""
    what = [f"{changed['state']} {at(changed['at'])} by {changed['by']}"]
    what += [f"job {short(changed['job_id'])}"] if changed["job_id"] else []
    what += [f"to {changed['to']}"] if changed["to"] else []
    return ", ".join(what) + (f": {changed['reason']}" if changed["reason"] else "")


def _value(name: str, shown: dict[str, Any]) -> None:
    schema = f" ({shown['schema']}, schema {shown['schema_id']})" if shown["schema"] else ""
    click.echo(f"\n{name}{schema}")
    if shown["problem"]:
        text(f"  {shown['problem']}; {shown['bytes']} bytes, which begin: {shown['hex']}")
        return
    value = shown["value"]
    one(
        {f"  {key}": each for key, each in (value.items() if isinstance(value, dict) else [("", value)])}, as_json=False
    )


def _edit(edit: dict[str, Any]) -> None:
    by = f"approved by {edit['approved_by']}" if edit["approved_by"] else "not approved"
    click.echo(f"\nedited by {edit['by']}, {by}")
    one({"  before": edit["hash_before"], "  after": edit["hash_after"]}, as_json=False)
    _value("edited value", edit["shown"])
