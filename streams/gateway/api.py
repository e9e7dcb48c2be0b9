"""The gateway's handlers: one method a route.

Enters: a request that passed the guard, and whose it is. Leaves: a record on its way, acknowledged, and the answer.
Holds no client of its own: roads, outcomes and the clock of reachability are given (real ones in gateway.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aiohttp import web

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseCancelled, CaseTold, ReviewDecided
from aios.schemas.plain import Plain
from aios.streams import failpoints, ingest, signing, topics, tracing, transitions
from aios.streams.bodies import Body, larger
from aios.streams.config import GatewaySettings
from aios.streams.deployments import MIGRATED, OPERATOR, Catalogue
from aios.streams.document_store import Store
from aios.streams.errors import AiosError, SchemaMismatch, Unavailable
from aios.streams.gateway.case_reading import Cases, CasesApi
from aios.streams.gateway.cases import Links, Recent, case_url
from aios.streams.gateway.documents import DocumentsApi
from aios.streams.gateway.reviews import Reviews, ReviewsApi
from aios.streams.gateway.routes import (
    ROUTES,
    Cancellation,
    CancellationAccepted,
    CaseAccepted,
    Hook,
    Told,
    ToldAccepted,
)
from aios.streams.http import openapi, query
from aios.streams.http.about import ASK_S_MAX, VERSION, About, Handler, json_answer
from aios.streams.http.console import ConsoleApi
from aios.streams.http.guard import BUSY_RETRY_S, TenantGuard
from aios.streams.http.openapi import Caller, Route
from aios.streams.http.problem import Problem
from aios.streams.ingest import Submitted
from aios.streams.inputs import Input
from aios.streams.outcome_views import ACCEPTED, REFUSED, CaseView
from aios.streams.pool_files import Lane
from aios.streams.record import Outgoing
from aios.streams.review_claims import LEASE_S
from aios.streams.topics import SOURCES, Topic
from aios.streams.wall_clock import wall_ms

SOURCE = "/aios/gateway"
TITLE = "AIOS on Kafka"
SUBMIT = "submit_case"  # the route whose bodies depend on what is deployed
TOLD_BYTES_MAX = 64 << 10  # of what a case is told: it is remembered with the case
OPERATORS_ONLY = frozenset({MIGRATED})  # kinds of what a case is told that no producer may say
ASK_AGAIN_S = 2.0  # after it did not answer

log = logging.getLogger(__name__)
T = TypeVar("T")
Submission = Plain | ReviewDecided | CaseCancelled | CaseTold | AuditRecorded


class Roads(Protocol):
    """Delivery in service."""

    async def deliver(self, out: Outgoing) -> Any: ...


class Outcomes(Cases, Reviews, Protocol):
    """OutcomeStore in service. Every call raises Unavailable when it does not answer."""

    async def wait(self, case_id: str, tenant: str, timeout_s: float, event_id: str) -> CaseView | None: ...
    async def note_accepted(self, case_id: str, tenant: str) -> None: ...
    async def check(self) -> None: ...


class Api(CasesApi, DocumentsApi, ReviewsApi, ConsoleApi, About):
    """The handlers. reachable: whether Kafka answers at this moment."""

    PAGE = Path(__file__).parent / "page"

    _guard: TenantGuard
    _outcomes: Outcomes

    def __init__(
        self,
        limits: GatewaySettings,
        guard: TenantGuard,
        *,
        codec: Codec,
        roads: Roads,
        outcomes: Outcomes,
        reachable: Callable[[], Awaitable[bool]],
        catalogue: Catalogue | None = None,
        documents: Store | None = None,
    ) -> None:
        super().__init__(
            guard,
            ROUTES,
            title=TITLE,
            body_bytes_max=limits.body_bytes_max,
            reachable=reachable,
            check=outcomes.check,
            path_values={"workflow": sorted(SOURCES)},
        )
        self._catalogue = catalogue or Catalogue()
        self._documents = documents
        self._arriving = Counter()
        self._described: tuple[tuple[Input, ...], str] = ((), "")
        self._limits = limits
        self._codec = codec
        self._roads = roads
        self._outcomes = outcomes
        self._recent = Recent()
        self._answers = Recent(age_s_max=LEASE_S)
        self._opened = Recent()
        self._ask_from = 0.0
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Serve nothing new, and answer those who wait now."""
        super().leave()
        self._left.set()

    def _guarded(self, route: Route, act: Callable[..., Awaitable[web.StreamResponse]]) -> Handler:
        whose = {
            Caller.TENANT: self._guard.tenant,
            Caller.REVIEWER: self._guard.reviewer,
            Caller.READER: self._guard.reader,
            Caller.OWNER: self._guard.owner,
            Caller.SENDER: self._guard.sender,
        }[route.caller]

        async def guarded(request: web.Request) -> web.StreamResponse:
            with self._guard.slot():
                caller = whose(request)
                if route.query:
                    query.check_names(request, route)
                return await act(request, caller)

        return guarded

    async def describe(self, _: web.Request) -> web.Response:
        """With the workflows that are there at this moment."""
        taken = {name: found for name in self._catalogue.names() if (found := self._catalogue.input_of(name))}
        if self._described[0] != tuple(taken.values()):
            routes = [replace(one, takes=_bodies(taken)) if one.name == SUBMIT else one for one in ROUTES]
            about = openapi.document(routes, title=TITLE, version=VERSION, path_values={"workflow": list(taken)})
            self._described = (tuple(taken.values()), json.dumps(about))
        return web.Response(text=self._described[1], content_type="application/json")

    async def submit_case(self, request: web.Request, tenant: str) -> web.Response:
        began = time.monotonic()
        workflow = request.match_info["workflow"]
        taken = self._catalogue.input_of(workflow)
        if taken is None:
            raise Problem("unknown_workflow", f"workflows here: {', '.join(self._catalogue.names())}")
        key = ingest.idempotency_key(request.headers.getall("Idempotency-Key", ()))
        wait_s = ingest.wait_s(request.headers.getall("Prefer", ()), at_most=self._limits.wait_s_max)
        body = ingest.read_body(await self._guard.body(request, larger=larger(taken.body)), taken.body)
        if wait_s and not (self._guard.may_wait(tenant) and self._asks()):
            wait_s = 0  # a preference; the case is accepted all the same
        with self._guard.waiting(tenant) if wait_s else nullcontext():  # others who come now must not take it for free
            lane = Lane.INTERACTIVE if wait_s else Lane.BULK
            submitted = ingest.submit(body, taken, tenant=tenant, workflow=workflow, idempotency_key=key, lane=lane)
            if key is not None:
                await self._refuse_conflict(submitted, tenant)
            await self._deliver(
                taken.topic,
                submitted.event,
                event_id=submitted.event_id,
                case_id=submitted.case_id,
                tenant=tenant,
                request=request,
            )
            self._recent.note(submitted.case_id, tenant, submitted.body_hash)
            await self._if_it_answers(lambda: self._outcomes.note_accepted(submitted.case_id, tenant))
            left_s = wait_s - (time.monotonic() - began)
            view = await self._wait(submitted, tenant, left_s) if left_s > 0 and self._asks() else None
        return _submitted(submitted, workflow, view, wait_s)

    async def cancel_case(self, request: web.Request, owner: tuple[tuple[str, ...], str]) -> web.Response:
        wish: Cancellation = ingest.read_body(await self._guard.body(request), Cancellation)
        tenants, by = owner
        view = await self._case(request.match_info["case_id"], tenants)
        _refuse_closed(view)
        event = CaseCancelled(
            event_id=ids.derive("cancel", view.case_id, by, wish.reason),
            case_id=view.case_id,
            tenant=view.tenant,
            reason=wish.reason,
            by=by,
            cancelled_at=wall_ms(),
        )
        stands = transitions.done_outside(await self._outcomes.timeline(view.case_id, view.tenant))
        links = Links(case=case_url(view.case_id))
        await self._say(topics.CASE_CANCELLED, event, request)
        answer = CancellationAccepted(case_id=view.case_id, event_id=event.event_id, stands=stands, links=links)
        return json_answer(answer.model_dump(), status=202, headers={"Location": links.case})

    async def tell_case(self, request: web.Request, owner: tuple[tuple[str, ...], str]) -> web.Response:
        told: Told = ingest.read_body(await self._guard.body(request), Told)
        key = ingest.idempotency_key(request.headers.getall("Idempotency-Key", ())) or ""
        tenants, by = owner
        if told.kind in OPERATORS_ONLY and not by.startswith(OPERATOR):
            raise Problem("invalid_body", f"kind: {told.kind} is for operators")
        view = await self._case(request.match_info["case_id"], tenants)
        if told.kind not in OPERATORS_ONLY and not view.decided_at:
            _refuse_unheard(view, told.kind)
        asked = f"asked/{view.waits_from}" if view.waits_from else ""  # the same words to the next question are new
        return await self._tell(view, told, key or asked, by, request)

    async def take_hook(self, request: web.Request, name: str) -> web.Response:
        raw = await self._guard.body(request)
        endpoint = self._guard.signed(name, request, raw)
        hook: Hook = ingest.read_body(raw, Hook)
        if hook.kind in OPERATORS_ONLY:
            raise Problem("invalid_body", f"kind: {hook.kind} is for operators")
        view = await self._case(hook.case_id, (endpoint.tenant,))
        return await self._tell(view, hook, f"{name}/{request.headers[signing.ID]}", f"webhook:{name}", request)

    async def _tell(self, view: CaseView, told: Told | Hook, key: str, by: str, request: web.Request) -> web.Response:
        """key: what makes one event of repeats, beside kind and body. A hook may tell what nobody waits for: who sends
        all his events to one address must not be refused, and plan notes it as ignored. What the case was told before
        it was decided may come again: it may be what decided it, and the answer was lost.
        """
        body = ids.canonical(dict(told.body))
        if len(body.encode()) > TOLD_BYTES_MAX:
            raise Problem("too_large", f"body: more than {TOLD_BYTES_MAX} bytes")
        event = CaseTold(
            event_id=ids.derive("told", view.case_id, told.kind, body, key),
            case_id=view.case_id,
            tenant=view.tenant,
            kind=told.kind,
            body=body,
            by=by,
            told_at=wall_ms(),
        )
        links = Links(case=case_url(view.case_id))
        if not (view.decided_at and await self._was_told(event)):
            _refuse_closed(view)
            await self._say(topics.CASE_TOLD, event, request)
        answer = ToldAccepted(case_id=view.case_id, event_id=event.event_id, links=links)
        return json_answer(answer.model_dump(), status=202, headers={"Location": links.case})

    async def _was_told(self, event: CaseTold) -> bool:
        timeline = await self._outcomes.timeline(event.case_id, event.tenant)
        return any(one.get("detail", {}).get("event_id") == event.event_id for one in timeline)

    async def _say(self, topic: Topic, event: CaseCancelled | CaseTold, request: web.Request) -> None:
        """About an open case. Raises Problem."""
        case_id, tenant = event.case_id, event.tenant
        await self._deliver(topic, event, event_id=event.event_id, case_id=case_id, tenant=tenant, request=request)

    async def _deliver(
        self, topic: Topic, event: Submission, *, event_id: str, case_id: str, tenant: str, request: web.Request
    ) -> None:
        """Returns when the broker has it. Raises Problem not_acknowledged: it may have it, or not."""
        failpoints.hit("gateway.taken")
        traceparent = request.headers.get("traceparent", "")
        value = self._codec.encode(topic, event)
        failpoints.hit("gateway.computed", value)
        try:
            with tracing.span("gateway", traceparent, topic=topic.name, case_id=case_id, event_id=event_id):
                headers = tracing.envelope(
                    event,
                    event_id=event_id,
                    source=SOURCE,
                    subject=case_id,
                    tenant=tenant,
                    traceparent=traceparent,
                    time_ms=wall_ms(),
                )
                await self._roads.deliver(Outgoing(topic.name, case_id.encode(), value, headers))
        except SchemaMismatch:
            raise
        except AiosError as error:  # away, or a topic that is missing or forbidden: for the caller it is the same
            log.warning("Kafka did not acknowledge: %s", error, extra={"case_id": case_id})
            raise Problem(
                "not_acknowledged",
                "Kafka did not acknowledge in time and may or may not have it; the same request again is the same case",
                headers={"Retry-After": str(BUSY_RETRY_S)},
                case_id=case_id,
            ) from None

    async def _refuse_conflict(self, submitted: Submitted, tenant: str) -> None:
        """Best knowledge; plan refuses for certain."""
        known = self._recent.value(submitted.case_id)
        if known is not None and known != submitted.body_hash:
            raise _conflict(submitted)
        if known is None:
            view = await self._if_it_answers(lambda: self._outcomes.status(submitted.case_id, tenant))
            if view is not None and ingest.same_body(submitted, view.event_id) is False:
                raise _conflict(submitted)

    async def _case(self, case_id: str, tenants: tuple[str, ...]) -> CaseView:
        """tenants: whose it may be; () any."""
        view = await self._outcomes.status(case_id, None)
        if view is None or (tenants and view.tenant not in tenants):
            raise Problem("not_found", "there is no such case for this API key or token")
        return view

    async def _wait(self, submitted: Submitted, tenant: str, wait_s: float) -> CaseView | None:
        """What the case came to within wait_s; earlier, with what is known, when this process leaves."""
        asked = asyncio.ensure_future(self._outcomes.wait(submitted.case_id, tenant, wait_s, submitted.event_id))
        left = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait((asked, left), timeout=wait_s + ASK_S_MAX, return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else None
        except Unavailable:
            return None
        finally:
            asked.cancel()
            left.cancel()

    def _asks(self) -> bool:
        return time.monotonic() >= self._ask_from

    async def _if_it_answers(self, asked: Callable[[], Awaitable[T]]) -> T | None:
        """What the outcome store says; None when it does not answer soon, and then for ASK_AGAIN_S without asking."""
        if not self._asks():
            return None
        try:
            async with asyncio.timeout(ASK_S_MAX):
                return await asked()
        except (Unavailable, TimeoutError):
            self._ask_from = time.monotonic() + ASK_AGAIN_S
            return None


def _refuse_closed(view: CaseView) -> None:
    """One that plan does not know, or has decided, as far as is known here."""
    if view.decided_at:
        raise Problem("already_decided", "this case is decided", case_id=view.case_id)
    if view.status in (ACCEPTED, REFUSED):
        why = "it is refused" if view.status == REFUSED else "no stage has seen it yet; ask again in a moment"
        raise Problem("wrong_state", why, case_id=view.case_id)


def _refuse_unheard(view: CaseView, kind: str) -> None:
    """Nobody waits for this kind in the case, now or later; a case of which nobody said so takes any."""
    if view.hears is not None and kind not in view.hears:
        hears = f"it can be told {', '.join(view.hears)}" if view.hears else "it waits for no event at any step"
        why = f"nobody waits for {kind} in this case: {hears}; now it is at step {view.step} ({view.status})"
        raise Problem("wrong_state", why, case_id=view.case_id)


def _submitted(submitted: Submitted, workflow: str, view: CaseView | None, wait_s: int) -> web.Response:
    if view is not None and view.refusal is not None:
        if view.refusal["reason"] == "conflicting_duplicate":
            raise _conflict(submitted)
        raise Problem("refused", f"{view.refusal['reason']}: {view.refusal['detail']}", case_id=submitted.case_id)
    key = submitted.idempotency_key
    headers = {"Location": case_url(submitted.case_id), "Idempotency-Key": key}
    if wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
    if view is not None and (view.decided_at or view.answers):
        return json_answer(view.plain(), headers=headers)
    answer = CaseAccepted(
        case_id=submitted.case_id,
        workflow=workflow,
        status=view.status if view is not None else ACCEPTED,
        idempotency_key=key,
        links=Links(case=case_url(submitted.case_id)),
    )
    return json_answer(answer.model_dump(), status=202, headers=headers)


def _bodies(taken: Mapping[str, Input]) -> tuple[type[Body], ...]:
    return tuple(dict.fromkeys(each.body for each in taken.values()))


def _conflict(submitted: Submitted) -> Problem:
    why = "this idempotency key is taken by another body; that case goes on untouched"
    return Problem("conflicting_duplicate", why, case_id=submitted.case_id)
