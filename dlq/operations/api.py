"""The handlers of operations: one method a route.

Enters: a request that passed the guard, and its principal. Leaves: what the index and the replay stage say of dead
letters, jobs and breakers; commands, with their answers. Guaranteed: whoever acts for some tenants sees nothing of
others and touches nothing of theirs; the name in every command is the token's; personal fields are shown, or searched
by an expression over values or headers, only once the audit has it that they were asked for, and by whom. Roles are
looked at here, so that a refusal comes at once, and again where the command is carried out. Holds no client of its own:
neighbours are given (real ones in operations.py).
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from aiohttp import web

from aios.dlq import commands, filters, jobs
from aios.dlq.commands import BreakerCommand, Command, JobCommand, Kind, PlanCommand
from aios.dlq.index import LISTED_MAX
from aios.dlq.index_layout import Outcome
from aios.dlq.operations import asked
from aios.dlq.operations.letters import LettersApi
from aios.dlq.operations.neighbours import Answering, Breakers, Edits, Index, Jobs, Records, Roads
from aios.dlq.operations.routes import ROUTES, Close, Plan, Why
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    PrincipalRegistered,
    ReplayRemembered,
)
from aios.streams import failpoints, ingest, principals
from aios.streams.config import OperationsSettings
from aios.streams.errors import AiosError, SchemaMismatch
from aios.streams.http import query
from aios.streams.http.about import About, Handler, json_answer
from aios.streams.http.console import ConsoleApi
from aios.streams.http.guard import BUSY_RETRY_S, Guard
from aios.streams.http.openapi import Route
from aios.streams.http.problem import Problem
from aios.streams.principals import Role
from aios.streams.wall_clock import wall_ms

PROBLEMS: Mapping[commands.Problem, str] = {
    commands.Problem.UNKNOWN_COMMAND: "internal",
    commands.Problem.BAD_ARGUMENTS: "refused",
    commands.Problem.UNKNOWN_PRINCIPAL: "unauthorized",
    commands.Problem.ROLE_MISSING: "forbidden",
    commands.Problem.OTHER_TENANT: "forbidden",
    commands.Problem.SAME_PRINCIPAL: "same_principal",
    commands.Problem.NOT_FOUND: "not_found",
    commands.Problem.WRONG_STATE: "wrong_state",
    commands.Problem.CHANGED: "changed",
    commands.Problem.DOES_NOT_FIT: "does_not_fit",
    commands.Problem.TOO_MANY: "too_many_jobs",
    commands.Problem.KEY_REUSED: "conflicting_duplicate",
}
"""Why the stage refused → the reason of the HTTP answer."""


class Api(LettersApi, ConsoleApi, About):
    """The handlers. reachable: whether Kafka answers at this moment."""

    PAGE = Path(__file__).parent / "page"

    def __init__(
        self,
        limits: OperationsSettings,
        guard: Guard,
        *,
        codec: Codec,
        index: Index,
        records: Records,
        jobs: Jobs,
        edits: Edits,
        breakers: Breakers,
        answers: Answering,
        roads: Roads,
        reachable: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(
            guard,
            ROUTES,
            title="AIOS on Kafka: operations",
            body_bytes_max=limits.body_bytes_max,
            reachable=reachable,
            check=index.check,
        )
        self._limits = limits
        self._codec = codec
        self._index = index
        self._records = records
        self._jobs = jobs
        self._edits = edits
        self._breakers = breakers
        self._answers = answers
        self._roads = roads
        self._scanning = asyncio.Lock()  # one consumer reads the records of scans

    def _guarded(self, route: Route, act: Callable[..., Awaitable[web.StreamResponse]]) -> Handler:
        roles = tuple(Role(role) for role in route.roles)

        async def guarded(request: web.Request) -> web.StreamResponse:
            with self._guard.slot():
                who = self._guard.principal(request, *roles)
                query.check_names(request, route)
                return await act(request, who)

        return guarded

    # ── jobs ──

    async def jobs(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        state = asked.text(request, "state")
        if state and state not in set(jobs.JobState):
            raise Problem("invalid_query", f"state: one of {', '.join(jobs.JobState)}")
        limit, after = query.limit(request, LISTED_MAX), asked.job_cursor(request)
        behind = (one for one in self._jobs.newest() if (-one.planned_at, one.job_id) > after)
        found = list(islice((one for one in behind if state in ("", one.state) and _sees(who, one)), limit))
        cursor = f"{found[-1].planned_at}:{found[-1].job_id}" if len(found) == limit else ""
        return json_answer({"jobs": [_job(one) for one in found], "cursor": cursor})

    async def job(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        job = self._job(request, who)
        counts = await self._index.job(job.job_id)
        results = {str(name): count for name, count in counts.counts.items() if count}
        return json_answer(_job(job) | {"results": results, "skipped_for": dict(counts.by_reason)})

    async def results(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        job = self._job(request, who)
        outcome = asked.text(request, "outcome") or Outcome.SKIPPED
        if outcome not in set(Outcome):
            raise Problem("invalid_query", f"outcome: one of {', '.join(Outcome)}")
        found, cursor = await self._index.job_letters(
            job.job_id,
            Outcome(outcome),
            limit=query.limit(request, LISTED_MAX),
            cursor=asked.cursor(request, asked.BY_ID),
        )
        return json_answer({"letters": [asdict(one) for one in found], "cursor": cursor})

    async def plan(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        body: Plan = ingest.read_body(await self._guard.body(request), Plan)
        whole = [(await self._found(one, who)).letter.id for one in body.filter.ids]
        wanted = asked.refusing(lambda: filters.of(body.filter.model_dump() | {"ids": whole}), "invalid_body")
        if who.tenants and wanted.tenant not in who.tenants:
            raise Problem("forbidden", f"name a tenant you act for in filter.tenant: {', '.join(who.tenants)}")
        command = PlanCommand(
            target=commands.Target(body.kind),
            action=commands.Action(body.action),
            filter=wanted.json(),
            edit=ids.canonical(body.edit) if body.edit is not None else "",
            rate_per_s=body.rate_per_s,
            cap=body.cap,
            order=commands.Order(body.order),
        )
        return await self._command(request, who, command, object_id="", reason=body.reason, tenant=wanted.tenant)

    async def job_approve(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        return await self._job_command(request, who, Kind.APPROVE)

    async def job_run(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        return await self._job_command(request, who, Kind.RUN)

    async def job_pause(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        return await self._job_command(request, who, Kind.PAUSE)

    async def job_resume(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        return await self._job_command(request, who, Kind.RESUME)

    async def job_abort(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        return await self._job_command(request, who, Kind.ABORT)

    async def _job_command(self, request: web.Request, who: PrincipalRegistered, kind: Kind) -> web.Response:
        body: Why = ingest.read_body(await self._guard.body(request), Why)
        job = self._job(request, who)
        return await self._command(
            request,
            who,
            JobCommand(kind=kind),
            object_id=job.job_id,
            reason=body.reason,
            tenant=jobs.tenant_of(job),
        )

    # ── breakers ──

    async def breakers(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        found = sorted(self._breakers.all().values(), key=lambda one: (-one.changed_at, one.key))
        shown = found if asked.flag(request, "all") else self._breakers.open_ones()
        return json_answer([asdict(one) for one in shown if principals.may(who, one.tenant)])

    async def close_breaker(self, request: web.Request, who: PrincipalRegistered) -> web.Response:
        body: Close = ingest.read_body(await self._guard.body(request), Close)
        breaker = self._breakers.all().get(body.key)
        if breaker is None or not principals.may(who, breaker.tenant):
            raise Problem("not_found", "there is no such breaker; `aios breaker list --all` shows them")
        return await self._command(
            request, who, BreakerCommand(), object_id=body.key, reason=body.reason, tenant=breaker.tenant
        )

    # ── parts ──

    async def _command(
        self,
        request: web.Request,
        who: PrincipalRegistered,
        command: Command,
        *,
        object_id: str,
        reason: str,
        tenant: str,
        value: bytes | None = None,
    ) -> web.Response:
        failpoints.hit("operations.taken")
        key = ingest.idempotency_key(request.headers.getall("Idempotency-Key", ())) or str(uuid.uuid4())
        wanted = commands.requested(
            command,
            object_id=object_id,
            principal=who.name,
            key=key,
            reason=reason,
            now_ms=wall_ms(),
            value=value,
        )
        try:
            commands.parse(wanted)
            failpoints.hit("operations.computed")
            answer = await self._answers.ask(wanted, tenant, self._limits.answer_s_max)
        except commands.Refused as refused:
            raise Problem(PROBLEMS[refused.problem], refused.detail) from None
        except SchemaMismatch:
            raise
        except AiosError:
            why = "Kafka did not acknowledge in time and may or may not have it; send it again with its Idempotency-Key"
            raise Problem(
                "not_acknowledged", why, headers={"Retry-After": str(BUSY_RETRY_S)}, idempotency_key=key
            ) from None
        headers = {"Idempotency-Key": key}
        if answer is None:
            said = {"command_id": wanted.command_id, "kind": wanted.kind, "status": "asked"}
            return json_answer(said, status=202, headers=headers)
        if answer.status != "done":
            raise Problem(PROBLEMS.get(commands.Problem(answer.problem), "refused"), answer.detail, headers=headers)
        return json_answer(
            {
                "command_id": answer.command_id,
                "kind": answer.kind,
                "object_id": answer.object_id,
                "status": answer.status,
                "detail": answer.detail,
                "result": json.loads(answer.result or "{}"),
            },
            headers=headers,
        )

    def _job(self, request: web.Request, who: PrincipalRegistered) -> ReplayRemembered:
        asked.check_id(request.match_info["job_id"])
        found = [one for one in self._jobs.beginning(request.match_info["job_id"]) if _sees(who, one)]
        if not found:
            raise Problem("not_found", "there is no such job; `aios replay list` shows them")
        if len(found) > 1:
            raise Problem("ambiguous_id", f"several begin so: {', '.join(one.job_id for one in found[:5])}")
        return found[0]


def _sees(who: PrincipalRegistered, job: ReplayRemembered) -> bool:
    """A job belongs to the tenant that its filter names, else to those who act for all."""
    return principals.may(who, jobs.tenant_of(job))


def _job(job: ReplayRemembered) -> dict[str, Any]:
    """A job for people: filter and report as objects, and how far it is. left_s: None when nobody can say."""
    done = job.replayed + sum(job.skipped.values())
    of = max(min(job.selected, job.cap) if job.cap else job.selected, done)
    rate = done / (job.took_ms / 1000) if job.took_ms else 0.0
    left_s = (of - done) / rate if rate and job.state == jobs.JobState.RUNNING else None
    said = asdict(job) | {"filter": json.loads(job.filter or "{}"), "report": json.loads(job.report or "{}")}
    said["edit"] = json.loads(job.edit) if job.edit else None
    said["progress"] = {
        "done": done,
        "of": of,
        "rate_per_s": round(rate, 1),
        "left_s": round(left_s, 1) if left_s is not None else None,
    }
    return said
