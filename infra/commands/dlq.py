"""`aios dlq groups|list|show|replay`: what failed, why, and how it comes back. Needs Kafka and the registry."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from aios.dlq import envelope, letters
from aios.dlq.decide import HINTS
from aios.dlq.letters import DeadLetter, State
from aios.infra.output import NOT_FOUND, USAGE, fail, one, rows
from aios.infra.running import running
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import ReplayRequested
from aios.schemas.registry import RegistrySource
from aios.streams import topology, tracing
from aios.streams.config import KafkaSettings
from aios.streams.errors import Reason
from aios.streams.kafka import Delivery, read_one
from aios.streams.record import Outgoing, Record
from aios.streams.topics import REPLAY_REQUESTED, Topic

CHUNK = 500  # replay requests on their way at once
PREVIEW_BYTES_MAX = 4096
PREFIX_CHARS_MIN = 6  # of an id that is not given whole
SOURCE = "/aios/dlq"
GROUPS = sorted(stage.group for stage in topology.STAGES if stage.reads)
JSON = click.option("--json", "as_json", is_flag=True, help="For scripts.")
SHORT_CHARS = 12  # of an id in a table; enough to name it
KEY_CHARS = 24
LIST = ("id", "group", "reason", "key", "state", "attempts", "replays", "failed_at")
GROUPED = ("group", "reason", "open", "oldest", "fingerprint", "error")


@dataclass(frozen=True, slots=True)
class Selection:
    """Empty parts select everything."""

    group: str = ""
    reason: str = ""
    fingerprint: str = ""
    key: str = ""

    def __bool__(self) -> bool:
        return any((self.group, self.reason, self.fingerprint, self.key))

    def holds(self, letter: DeadLetter) -> bool:
        wanted = (self.group, self.reason, self.fingerprint, self.key)
        has = (letter.group, letter.reason, letter.fingerprint, letter.key)
        return all(want in ("", is_) for want, is_ in zip(wanted, has, strict=True))


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """Options that make a Selection."""

    @wraps(command)
    def selecting(
        *, group_name: str | None, reason: str | None, fingerprint: str | None, key: str | None, **rest: Any
    ) -> None:
        command(selection=Selection(group_name or "", reason or "", fingerprint or "", key or ""), **rest)

    for option in (
        click.option("--key", help="The record's own key."),
        click.option("--fingerprint", help="One kind of failure; see `aios dlq groups`."),
        click.option("--reason", type=click.Choice([reason.value for reason in Reason])),
        click.option("--group", "group_name", type=click.Choice(GROUPS), help="The consumer group that failed."),
    ):
        selecting = option(selecting)
    return selecting


@click.group("dlq")
def group() -> None:
    """Dead letters: groups, list, show, replay.

    A dead letter is a record that a stage could not process, with its original bytes and the reason. It is open
    until it is replayed: returned to the group that failed, and to no other.
    """


@group.command("groups")
@JSON
def groups_(as_json: bool) -> None:
    """Open dead letters by kind of failure, with what to do."""
    found: dict[tuple[str, str, str], list[DeadLetter]] = {}
    for letter in _read()[0]:
        if letter.state is State.OPEN:
            found.setdefault((letter.group, letter.reason, letter.fingerprint), []).append(letter)
    kinds = [_kind(kind) for kind in sorted(found.values(), key=len, reverse=True)]
    rows(kinds, GROUPED, as_json=as_json, none="No open dead letters.")
    if not as_json:
        for reason, hint in {kind["reason"]: kind["hint"] for kind in kinds}.items():
            click.echo(f"\n{reason}: {hint}")


@group.command("list")
@_filters
@click.option(
    "--state",
    type=click.Choice([*(state.value for state in State), "all"]),
    default=State.OPEN.value,
    show_default=True,
)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@JSON
def list_(selection: Selection, state: str, limit: int, as_json: bool) -> None:
    """Dead letters, newest first."""
    found = [
        letter
        for letter in _read(selection.group)[0]
        if selection.holds(letter) and state in ("all", letter.state.value)
    ]
    shown = [_row(letter) for letter in found[:limit]]
    rows(shown if as_json else [_short(row) for row in shown], LIST, as_json=as_json, none="No such dead letters.")
    if len(found) > limit and not as_json:
        click.echo(f"… and {len(found) - limit} more: --limit {len(found)}")


@group.command()
@click.argument("letter_id")
@click.option("--payload", is_flag=True, help="Its bytes too; they may hold personal data.")
@JSON
def show(letter_id: str, payload: bool, as_json: bool) -> None:
    """One dead letter with all its headers. The id, or the beginning of it."""
    found, kafka, _ = _read()
    letter = _by_id(found, letter_id)
    record = _record(kafka, letter)
    hint = HINTS[Reason(letter.reason)].hint if letter.reason in set(Reason) else ""
    shown: dict[str, Any] = _row(letter) | {"hint": hint}
    headers = {name: (value or b"").decode("utf-8", "backslashreplace") for name, value in record.headers}
    if as_json:
        one(shown | {"headers": headers} | (_payload(record) if payload else {}), as_json=True)
        return
    one({name: value for name, value in shown.items() if value not in ("", None)}, as_json=False)
    click.echo("\nheaders")
    one({f"  {name}": value for name, value in headers.items()}, as_json=False)
    if payload:
        click.echo("\npayload")
        one({f"  {name}": value for name, value in _payload(record).items()}, as_json=False)
    if letter.state is State.OPEN:
        click.echo(f"\nWhen its cause is gone: aios dlq replay {letter.id}")


@group.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@_filters
@click.option("--bytes", "repaired", type=click.File("rb"), help="Repaired bytes for one, Confluent framing included.")
@click.option("--reason-text", "why", default="not said", show_default=True, help="Why it may return; for the audit.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
def replay(
    *,
    letter_ids: tuple[str, ...],
    selection: Selection,
    repaired: Any,
    why: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Return dead letters to the group they failed in. By ID, or by a selection."""
    if bool(letter_ids) == bool(selection):
        fail("give ids, or a selection by --group, --reason, --fingerprint or --key", USAGE)
    if repaired is not None and len(letter_ids) != 1:
        fail("--bytes repairs one dead letter: give its id", USAGE)
    found, kafka, codec = _read(selection.group)
    chosen = [_by_id(found, each) for each in letter_ids] or [each for each in found if selection.holds(each)]
    going = list({each.id: each for each in chosen if each.state is State.OPEN}.values())
    value = repaired.read() if repaired is not None else None
    if value is not None and going:
        _check(value, going[0], codec)
    if going and not dry_run and not yes:
        _ask(f"Return {len(going)} dead letter{'s' if len(going) > 1 else ''} to {_names(going)}?")
    requests = [_request(each, value, why) for each in going]
    if not dry_run:
        asyncio.run(_publish(kafka, codec, requests, going))
    _report(chosen, dict(zip((each.id for each in going), requests, strict=True)), dry_run, as_json)


def _read(group_name: str = "") -> tuple[list[DeadLetter], KafkaSettings, Codec]:
    """Everything there is, with a spinner for people."""
    settings = running().settings
    registry = RegistrySource(settings.registry.url)
    click.get_current_context().call_on_close(registry.close)
    codec = Codec(registry)
    with Console(stderr=True).status("Reading dead letters"):
        return letters.read(settings.kafka, codec, group_name), settings.kafka, codec


def _by_id(found: Sequence[DeadLetter], wanted: str) -> DeadLetter:
    same = [letter for letter in found if letter.id == wanted]
    if not same and len(wanted) >= PREFIX_CHARS_MIN:
        same = [letter for letter in found if letter.id.startswith(wanted)]
    if len(same) > 1:
        fail(f"{len(same)} dead letters begin with {wanted}: give more of it", USAGE)
    if not same:
        fail(f"there is no dead letter {wanted}; `aios dlq list --state all` shows them", NOT_FOUND)
    return same[0]


def _record(kafka: KafkaSettings, letter: DeadLetter) -> Record:
    record = read_one(kafka, *letter.place)
    if record is None:
        fail(f"dead letter {letter.id} has just expired", NOT_FOUND)
    return record


def _row(letter: DeadLetter) -> dict[str, Any]:
    topic, partition, offset = letter.place
    row = asdict(letter) | {
        "state": letter.state.value,
        "class": letter.kind,
        "first_failed_at": _time(letter.first_failed_at),
        "failed_at": _time(letter.failed_at),
        "place": f"{topic}/{partition}/{offset}",
        "origin": f"{letter.orig_topic}/{letter.orig_partition}/{letter.orig_offset}",
    }
    for name in ("kind", "written_at", "orig_topic", "orig_partition", "orig_offset"):
        del row[name]
    return row


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """For a table."""
    key = row["key"] if len(row["key"]) <= KEY_CHARS else row["key"][: KEY_CHARS - 1] + "…"
    return row | {"id": row["id"][:SHORT_CHARS], "key": key}


def _kind(alike: Sequence[DeadLetter]) -> dict[str, Any]:
    """alike: of one group, reason and fingerprint; newest first."""
    newest = alike[0]
    known = newest.reason in set(Reason)
    return {
        "group": newest.group,
        "reason": newest.reason,
        "class": newest.kind,
        "open": len(alike),
        "oldest": _time(min(letter.failed_at for letter in alike)),
        "newest": _time(newest.failed_at),
        "fingerprint": newest.fingerprint,
        "error": newest.message or " in ".join(filter(None, (newest.error, newest.where))),
        "example": newest.id,
        "hint": HINTS[Reason(newest.reason)].hint if known else "",
    }


def _payload(record: Record) -> dict[str, Any]:
    value = (record.value or b"")[:PREVIEW_BYTES_MAX]
    left = len(record.value or b"") - len(value)
    return {
        "utf8": value.decode("utf-8", "backslashreplace"),
        "hex": value.hex(),
        **({"cut": f"{left} more bytes"} if left else {}),
    }


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ms else ""


def _names(going: Sequence[DeadLetter]) -> str:
    return ", ".join(sorted({letter.group for letter in going}))


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        fail("nobody can be asked here: say --yes, or --dry-run first", USAGE)
    click.confirm(question, abort=True)


def _check(value: bytes, letter: DeadLetter, codec: Codec) -> None:
    """Repaired bytes must be what the topic carries, or they would only fail again."""
    topic: Topic | None = topology.all_topics().get(letter.orig_topic)
    if topic is None or not topic.contracts:
        return
    try:
        codec.decode_any(value, topic)
    except SchemaMismatch as error:
        fail(f"these bytes would fail again, {topic.name} does not take them: {error}")


def _request(letter: DeadLetter, value: bytes | None, why: str) -> ReplayRequested:
    """The same request for the same dead letter and bytes: asked twice, it is one replay."""
    topic, partition, offset = letter.place
    content = hashlib.sha256(value).hexdigest() if value is not None else "original"
    return ReplayRequested(
        replay_id=str(ids.derive("replay", letter.id, str(letter.replays), content)),
        dead_letter_id=letter.id,
        topic=topic,
        partition=partition,
        offset=offset,
        value=value,
        requested_by=envelope.clipped(getpass.getuser()),
        reason=envelope.clipped(why, envelope.MESSAGE_BYTES_MAX),
        requested_at=time.time_ns() // 1_000_000,
    )


async def _publish(
    kafka: KafkaSettings, codec: Codec, requests: Sequence[ReplayRequested], going: Sequence[DeadLetter]
) -> None:
    if not requests:
        return
    delivery = Delivery(kafka, client_id="aios.dlq")
    outs = [_out(codec, request, letter) for request, letter in zip(requests, going, strict=True)]
    try:
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("Requesting replays", total=len(outs))
            for chunk in _chunks(outs):
                await delivery.deliver_all(chunk)
                progress.advance(task, len(chunk))
    finally:
        delivery.close()


def _chunks(outs: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    for first in range(0, len(outs), CHUNK):
        yield outs[first : first + CHUNK]


def _out(codec: Codec, request: ReplayRequested, letter: DeadLetter) -> Outgoing:
    headers = tracing.envelope(
        request,
        event_id=request.replay_id,
        source=SOURCE,
        subject=request.dead_letter_id,
        tenant=letter.tenant,
        traceparent="",
        time_ms=request.requested_at,
    )
    key = request.dead_letter_id.encode()
    return Outgoing(REPLAY_REQUESTED.name, key, codec.encode(REPLAY_REQUESTED, request), headers)


def _report(chosen: Sequence[DeadLetter], requests: dict[str, ReplayRequested], dry_run: bool, as_json: bool) -> None:
    """One line each; those that are not open are left alone, and said so."""
    word = "would be requested" if dry_run else "requested"
    shown = [
        {
            "id": letter.id,
            "group": letter.group,
            "reason": letter.reason,
            "key": letter.key,
            "replay": word if letter.id in requests else f"skipped: {letter.state} already",
            "replay_id": requests[letter.id].replay_id if letter.id in requests else None,
        }
        for letter in chosen
    ]
    table = shown if as_json else [_short(row) for row in shown]
    rows(table, ("id", "group", "reason", "key", "replay"), as_json=as_json, none="No such dead letters.")
    if requests and not dry_run and not as_json:
        click.echo(f"{len(requests)} requested. `aios dlq list --state all` shows what became of them.")
    if not chosen:
        raise click.exceptions.Exit(NOT_FOUND)
