"""`aios case list|show|explain|find|tell|cancel`: where cases stand, for the operator of this system (all tenants).

Enters: a case id, or a producer's key. Leaves: a table or JSON from the outcome store; `show` also the timeline, what
the case has cost as far as the lake has its ledger (seconds behind) and, with --trace, how the work was spread over the
stages. `find` says what became of a key: admitted, refused,
dead-lettered, or not seen (exit 3). `cancel` asks the gateway, with an operator's token (AIOS_TOKEN, --token-file, this
home's own) or, with --key, as the case's producer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from aios.infra import client, output
from aios.infra.commands import operations
from aios.infra.commands.explain import explain
from aios.infra.commands.operations import JSON
from aios.infra.commands.tell import tell
from aios.infra.output import NOT_FOUND, NOT_RUNNING, fail
from aios.infra.running import running
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged
from aios.schemas.registry import RegistrySource
from aios.streams import money, outcome_store, tracing, waiting
from aios.streams.config import Settings
from aios.streams.errors import Unavailable
from aios.streams.outcome_store import OutcomeStore
from aios.streams.outcome_views import ACCEPTED, REFUSED, CaseView
from aios.streams.tracing import Span

BAR_CHARS = 40
ADMITTED, DEAD_LETTERED, NOT_SEEN = "admitted", "dead_lettered", "not_seen"
T = TypeVar("T")


@click.group("case")
def group() -> None:
    """Cases: list, show, explain, find, tell, cancel."""


group.add_command(explain)
group.add_command(tell)


@group.command("list")
@click.option("--status", default="", help="As a list says it; accepted cases are in none: nobody has seen them.")
@click.option("--workflow", default="")
@click.option("--tenant", default=None)
@click.option("--limit", type=click.IntRange(1, outcome_store.LISTED_MAX), default=50, show_default=True)
@JSON
def list_(*, status: str, workflow: str, tenant: str | None, limit: int, as_json: bool) -> None:
    """Cases, those that changed last first."""

    async def question(store: OutcomeStore) -> list[CaseView]:
        return await store.list_cases(tenant=tenant, status=status, workflow=workflow, limit=limit)

    found = [view.plain() for view in _ask(question)]
    columns = ("case_id", "status", "workflow", "outcome", "label", "confidence", "decided_by", "changed")
    shown = found if as_json else [{**one, "changed": _time(one["changed_at"])} for one in found]
    output.rows(shown, columns, as_json=as_json, none="no such cases")


@group.command()
@click.argument("case")
@click.option("--trace", is_flag=True, help="Draw the spans of its trace.")
@JSON
def show(case: str, trace: bool, as_json: bool) -> None:
    """One case: its timeline, and what it has cost.

    Of each step model, confidence and duration. cost: of models and people, in money.currency; with --json in
    millionths. A person's time is what the workflow assumes.
    """
    settings = running().settings

    async def question(store: OutcomeStore) -> tuple[CaseView | None, list[dict[str, Any]]]:
        return await store.status(case, None), await store.timeline(case, None)

    view, timeline = _ask(question)
    if view is None:
        fail(f"nobody has seen case {case}; `aios case find --key K` looks for a producer's key", NOT_FOUND)
    if not view.settled and waiting.asked(timeline):
        view = replace(view, waits_for=tuple(waiting.waits_for(timeline, _away())))
    spans = tracing.read(settings.home, view.trace_id) if trace and view.trace_id else []
    cost = _cost(settings, case)
    if as_json:
        told = {"trace": [asdict(span) for span in spans]} if trace else {}
        output.one({**view.plain(), "cost": cost, "timeline": timeline, **told}, as_json=True)
        return
    output.one(_facts(view) | ({"cost": _amounts(cost)} if cost else {}), as_json=False)
    click.echo()
    output.rows(list(_rows(timeline)), _COLUMNS, as_json=False, none="no transition yet")
    if trace:
        click.echo()
        click.echo("\n".join(draw(spans)) or "no spans of this case are kept (tracing.sample_ratio)")


@group.command()
@click.option("--key", required=True, help="The idempotency key: the record's key, unless the event names one.")
@click.option("--tenant", default=None, help="As the event names it; default: this system's own.")
@click.option("--workflow", default="document.triage", show_default=True)
@JSON
def find(*, key: str, tenant: str | None, workflow: str, as_json: bool) -> None:
    """What became of the event with this key. Admitted, refused, dead-lettered, or not seen (exit 3)."""
    tenant = tenant or running().settings.default_tenant
    case_id = ids.case_id(tenant, workflow, key)

    async def question(store: OutcomeStore) -> dict[str, Any]:
        view = await store.status(case_id, tenant)
        refused = await store.refusals(case_id, tenant)
        dead = [*await store.dead_letters(key, None), *await store.dead_letters(case_id, None)]
        its = [one for one in dead if one["tenant"] in (tenant, "")]  # "": a record that names nobody, so not another
        return _found(view, refused, its)

    found = {"case_id": case_id, "tenant": tenant, "workflow": workflow, **_ask(question)}
    output.one(found, as_json=as_json)
    if found["found"] == NOT_SEEN:
        raise click.exceptions.Exit(NOT_FOUND)


@group.command()
@click.argument("case")
@click.option("--why", required=True, help="Stands in the audit; for people.")
@click.option("--gateway", envvar="GATEWAY", help="URL; default: GATEWAY, else the one that runs here.")
@click.option("--key", envvar="KEY", help="A tenant's API key, to cancel as its producer; default: KEY, else a token.")
@client.token_file
@JSON
def cancel(
    *, case: str, why: str, gateway: str | None, key: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Call a case off: it ends as cancelled.

    Models that work for it are told to stop. A decided one stays decided, and its audit says so. What outside systems
    did for it stands: a booked meeting stays in its calendars; `aios case tell CASE meeting_changed --set "text=cancel
    the meeting"` takes it out of them.
    """
    server = operations.gateway(gateway, token_file, key)
    said = client.ask(server, "POST", f"/v1/cases/{quote(case, safe='')}/cancel", {"reason": why})
    if as_json:
        output.one(said, as_json=True)
        return
    click.echo(f"accepted; `aios case show {case}` shows what becomes of it")
    for one in said.get("stands", ()):
        click.echo(f"not undone by this: {one}")


def _away() -> list[BreakerChanged]:
    """The circuits towards outside systems that are not closed."""
    settings = running().settings
    source = RegistrySource(settings.registry.url)
    table = waiting.circuits(settings.kafka, Codec(source))
    try:
        table.load()
        return list(table.all().values())
    except Unavailable as error:
        fail(str(error), NOT_RUNNING)
    finally:
        table.close()
        source.close()


def _cost(settings: Settings, case: str) -> dict[str, Any] | None:
    """What the ledger in the lake has of a case, in micro; None: nothing, or not yet."""
    from aios.sinks import lake, lake_query, ledger  # DuckDB and Arrow, which no other command of cases needs

    try:
        (found,) = ledger.report(lake.lake_folder(settings.home), (), case=case)
    except lake_query.QueryRefused as error:
        click.echo(f"its cost is not known: {error}", err=True)
        return None
    amounts = {name: found[name] for name in ("models", "people", "total", "wasted")}
    return {"currency": settings.money.currency, **amounts} if found["answers"] or any(amounts.values()) else None


def _amounts(cost: dict[str, Any]) -> str:
    """The same for people: the total, and of its parts and what stands beside it whatever there is."""
    parts = [f"{name} {money.text(cost[name])}" for name in ("models", "people", "wasted") if cost[name]]
    return f"{money.text(cost['total'])} {cost['currency']}" + (f" ({', '.join(parts)})" if parts else "")


def _found(view: CaseView | None, refused: Sequence[dict[str, Any]], dead: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The furthest the key came first; the rest beside it."""
    told: dict[str, Any] = {}
    if refused:
        told["refused"] = [f"{one['reason']}: {one['detail']} (event {one['event_id']})" for one in refused]
    if dead:
        told["dead_letters"] = [f"{one['id']} ({one['reason']})" for one in dead]
    if view is not None and view.status != REFUSED:
        kind = ACCEPTED if view.status == ACCEPTED else ADMITTED
        shown = {"status": view.status, "outcome": view.outcome, "label": view.label}
        return {"found": kind, **{name: value for name, value in shown.items() if value}, **told}
    if refused:
        return {"found": REFUSED, **told}
    return {"found": DEAD_LETTERED if dead else NOT_SEEN, **told}


def _facts(view: CaseView) -> dict[str, Any]:
    """What there is to say of a case, without what is empty."""
    facts = view.plain()
    for name in ("received_at", "admitted_at", "changed_at", "decided_at"):
        facts[name] = _time(facts[name])
    facts["workflow"] = f"{view.workflow}@{view.workflow_version}" if view.workflow_version else view.workflow
    facts["refusal"] = view.refusal["detail"] if view.refusal else ""
    facts["waits_for"] = waiting.told(view.waits_for)
    for name in ("output", "says"):
        facts[name] = ids.canonical(facts[name]) if facts[name] else ""
    facts["until"] = _time(view.until) if view.until else ""
    del facts["workflow_version"], facts["answers"]
    return {name: value for name, value in facts.items() if value not in ("", (), None, 0)}


_COLUMNS = ("seq", "at", "after", "transition", "step", "status", "model", "confidence", "duration", "detail")
_SHOWN = ("model", "prompt", "confidence", "queue_ms", "compute_ms", "deadline_at", "expires_at", "request_id")


def _rows(timeline: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """after: since the transition before. duration: a model's queue and computing, as it says."""
    before = None
    for one in timeline:
        detail = one["detail"]
        took = [detail[name] for name in ("queue_ms", "compute_ms") if name in detail]
        confidence = detail.get("confidence")
        rest = {name: value for name, value in detail.items() if name not in _SHOWN and value not in ("", [], None)}
        yield {
            "seq": one["case_seq"] or "",
            "at": _time(one["at"]),
            "after": "" if before is None else f"+{(one['at'] - before) / 1000:.3f} s",
            "transition": one["transition"],
            "step": one["step"],
            "status": one["status"],
            "model": " ".join(filter(None, (detail.get("model"), detail.get("prompt")))),
            "confidence": "" if confidence is None else f"{confidence:.2f}",
            "duration": f"{sum(took) / 1000:.3f} s" if took else "",
            "detail": ", ".join(f"{name} {_short(value)}" for name, value in rest.items()),
        }
        before = one["at"]


def draw(spans: Sequence[Span]) -> Iterator[str]:
    """The spans as a tree, each with its bar on the time the whole took."""
    if not spans:
        return
    known = {span.span_id for span in spans}
    start = min(span.start_ms for span in spans)
    whole = max(max(span.start_ms + span.duration_ms for span in spans) - start, 0.001)
    children: dict[str, list[Span]] = {}
    for span in spans:
        children.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)
    yield f"trace {spans[0].trace_id}, {whole / 1000:.3f} s"
    waiting = [(span, 0) for span in reversed(children.get("", ()))]
    while waiting:
        span, depth = waiting.pop()
        first = int((span.start_ms - start) / whole * BAR_CHARS)
        length = max(1, round(span.duration_ms / whole * BAR_CHARS))
        bar = (" " * min(first, BAR_CHARS - 1) + "█" * length)[:BAR_CHARS]
        name = f"{'  ' * depth}{span.process} {span.name}"
        failed = f"  {span.error}" if span.error else ""
        yield f"{name:<44.44} {bar:<{BAR_CHARS}} {span.duration_ms:10.1f} ms{failed}"
        waiting.extend((child, depth + 1) for child in reversed(children.get(span.span_id, ())))


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if at_ms else ""


def _ask(question: Callable[[OutcomeStore], Awaitable[T]]) -> T:
    try:
        return outcome_store.ask(running().settings.redis.url, question)
    except Unavailable as error:
        fail(str(error), NOT_RUNNING)
