"""The operations server's neighbours in memory; its answers come from the pure rules that the replay stage uses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import ClientSession, web

from aios.dlq import commands, jobs, letter_states
from aios.dlq.commands import Kind, LetterCommand, PlanCommand, Refused
from aios.dlq.dead_letter import letter_of
from aios.dlq.entries import Ambiguous, Entry, Group, JobCounts, LetterOutcome, Page, Progress, Source, gathered
from aios.dlq.filters import Filter
from aios.dlq.index_layout import Outcome, State
from aios.dlq.operations.api import Api
from aios.dlq.report import Report
from aios.dlq.show import Shown
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    BreakerChanged,
    LetterRemembered,
    OperationAnswered,
    OperationRequested,
    PrincipalRegistered,
    ReplayRemembered,
)
from aios.streams.config import OperationsSettings
from aios.streams.errors import Unavailable
from aios.streams.http import serve
from aios.streams.http.guard import Guard
from aios.streams.record import Record
from tests.broker import outcome_records as records
from tests.fakes.gateway import LOOPBACK, Roads
from tests.fakes.registry import FakeRegistry

NOW = 1_790_000_000_000
ROLES = {
    "ann": (("operator", "analyst"), ()),
    "bea": (("approver",), ()),
    "both": (("operator", "approver"), ()),
    "eve": (("analyst",), ()),
    "rob": (("reviewer",), ()),
    "oma": (("operator", "approver"), ("acme",)),
}
"""Principals: roles, and the tenants they act for. The token of each is token(name)."""


def token(name: str) -> str:
    return f"aios_token-of-{name}"


class Holders:
    """Those of ROLES; also the table that commands are judged by."""

    def get(self, name: str) -> PrincipalRegistered | None:
        if name not in ROLES:
            return None
        roles, tenants = ROLES[name]
        return PrincipalRegistered(
            name=name, roles=roles, tenants=tenants, token_hashes=(), active=True, registered_at=0
        )

    def by_token(self, secret: str) -> PrincipalRegistered | None:
        return next((self.get(name) for name in ROLES if token(name) == secret), None)


def entry(number: int, *, tenant: str = "acme", state: State = State.OPEN, **changed: Any) -> Entry:
    """A dead letter; number makes its id, key and time."""
    out = records.dead(f"key-{number}", NOW, 3)
    found = letter_of(Record(out.topic, 2, number, NOW + number, out.key, out.value, out.headers))
    assert found is not None
    told = {"id": ids.derive("letter", str(number)), "tenant": tenant, "key": f"key-{number}"}
    return Entry(replace(found, **(told | changed)), state, None)


def job(number: int, *, tenant: str = "", state: str = "draft", by: str = "ann") -> ReplayRemembered:
    made = jobs.planned(
        ids.derive("job", str(number)),
        PlanCommand(filter=Filter(tenant=tenant).json()),
        {},
        by=by,
        reason="",
        now_ms=NOW + number,
    )
    return replace(made, state=state)


@dataclass
class Index:
    """Holds what the test puts here. turns: by letter id, what a scan waits for before it reads it."""

    held: list[Entry] = field(default_factory=list)
    outcomes: dict[Outcome, list[LetterOutcome]] = field(default_factory=dict)
    away: bool = False
    turns: dict[str, asyncio.Event] = field(default_factory=dict)

    async def check(self) -> None:
        if self.away:
            raise Unavailable("Valkey is away")

    async def _meant(self, wanted: Filter, states: Collection[State], tenants: Collection[str] | None) -> list[Entry]:
        await self.check()
        found = [one for one in self.held if wanted.meets(one.letter) and (not states or one.state in states)]
        found = [one for one in found if tenants is None or one.letter.tenant in tenants]
        return sorted(found, key=lambda one: -one.letter.written_at)

    async def page(
        self,
        wanted: Filter,
        *,
        states: Collection[State],
        tenants: Collection[str] | None,
        limit: int,
        cursor: str,
    ) -> Page:
        found = await self._meant(wanted, states, tenants)
        first = int(cursor.partition(":")[0] or 0)
        more = f"{first + limit}:{found[first + limit - 1].letter.id}" if len(found) > first + limit else ""
        return Page(found[first : first + limit], more)

    async def count(self, wanted: Filter, *, states: Collection[State], tenants: Collection[str] | None) -> int:
        return len(await self._meant(wanted, states, tenants))

    async def groups(
        self, wanted: Filter, *, states: Collection[State], tenants: Collection[str] | None
    ) -> Sequence[Group]:
        return gathered(await self._meant(wanted, states, tenants))

    async def get(self, letter_id: str, *, tenants: Collection[str] | None) -> Entry | None:
        found = [one for one in await self._meant(Filter(), (), tenants) if one.letter.id.startswith(letter_id)]
        if len(found) > 1:
            raise Ambiguous(f"several begin so: {', '.join(one.letter.id for one in found)}")
        return found[0] if found else None

    async def scan(
        self,
        wanted: Filter,
        source: Source,
        *,
        states: Collection[State],
        tenants: Collection[str] | None,
    ) -> AsyncIterator[Entry | Progress]:
        found = await self._meant(wanted.indexed, states, tenants)
        held = unclear = 0
        yield Progress(0, len(found), 0, 0, 0)
        for number, one in enumerate(found, start=1):
            if one.letter.id in self.turns:
                await self.turns[one.letter.id].wait()
            said = wanted.answers(one.letter)
            held, unclear = held + (said is True), unclear + (said is None)
            yield Progress(number, len(found), held, unclear, 0)
            if said:
                yield one

    async def job(self, job_id: str) -> JobCounts:
        await self.check()
        counts = {name: len(self.outcomes.get(name, ())) for name in Outcome}
        return JobCounts(counts, {})

    async def job_letters(
        self,
        job_id: str,
        outcome: Outcome,
        *,
        limit: int,
        cursor: str,
    ) -> tuple[Sequence[LetterOutcome], str]:
        await self.check()
        found = self.outcomes.get(outcome, [])
        first = int(cursor or 0)
        page = found[first : first + limit]
        return page, str(first + limit) if len(page) == limit else ""


@dataclass
class Stage:
    """Carries commands out as the replay stage does, in memory. late: answers nothing."""

    index: Index
    asked: list[OperationRequested] = field(default_factory=list)
    remembered: dict[str, LetterRemembered] = field(default_factory=dict)
    jobs: dict[str, ReplayRemembered] = field(default_factory=dict)
    late: bool = False

    async def ask(self, command: OperationRequested, tenant: str, s_max: float) -> OperationAnswered | None:
        self.asked.append(command)
        if self.late:
            return None
        try:
            result = self._carry_out(command, tenant)
        except Refused as refused:
            return self._answer(command, "refused", refused.problem, refused.detail, {})
        return self._answer(command, "done", "", "", result)

    def edit(self, letter_id: str) -> LetterRemembered | None:
        return self.remembered.get(letter_id)

    def newest(self) -> Sequence[ReplayRemembered]:
        return sorted(self.jobs.values(), key=lambda one: (-one.planned_at, one.job_id))

    def beginning(self, job_id: str) -> Sequence[ReplayRemembered]:
        return [one for one in self.newest() if one.job_id.startswith(job_id)]

    def _carry_out(self, asked: OperationRequested, tenant: str) -> dict[str, Any]:
        command = commands.parse(asked)
        commands.allowed(Holders(), asked.principal, Kind(asked.kind), frozenset({tenant}))
        match command:
            case PlanCommand():
                made = jobs.planned(asked.object_id, command, {}, by=asked.principal, reason=asked.reason, now_ms=NOW)
                report = Report(complete=True, looked=len(self.index.held), selected=len(self.index.held))
                self.jobs[asked.object_id] = replace(
                    made, report=ids.canonical(report.plain()), selected=len(self.index.held)
                )
            case LetterCommand(kind=Kind.EDIT):
                letter = next(one.letter for one in self.index.held if one.letter.id == asked.object_id)
                self.remembered[letter.id] = letter_states.remembered(
                    letter, None, state="edited", edit=asked.value or b"patched", edited_by=asked.principal
                )
            case LetterCommand(kind=Kind.APPROVE_EDIT):
                known = self.remembered[asked.object_id]
                commands.other_eyes(asked.principal, known.edited_by)
                self.remembered[asked.object_id] = replace(known, approved_by=asked.principal)
            case commands.JobCommand():
                self.jobs[asked.object_id] = self._moved(command.kind, self.jobs[asked.object_id], asked.principal)
            case LetterCommand(kind=Kind.FREE):
                raise commands.wrong_state(asked.object_id, "open", "quarantined")
        return {}

    @staticmethod
    def _moved(kind: Kind, job: ReplayRemembered, by: str) -> ReplayRemembered:
        match kind:
            case Kind.APPROVE:
                return jobs.approve(job, by, NOW)
            case Kind.RUN:
                ran = jobs.run(job, by, NOW)
                return jobs.done(replace(ran, replayed=job.selected, took_ms=1000), NOW)
            case Kind.PAUSE:
                return jobs.pause(job, NOW)
            case Kind.RESUME:
                return jobs.resume(job, by, NOW)
        return jobs.abort(job, NOW)

    @staticmethod
    def _answer(
        command: OperationRequested, status: str, problem: str, detail: str, result: dict[str, Any]
    ) -> OperationAnswered:
        return OperationAnswered(
            command_id=command.command_id,
            kind=command.kind,
            object_id=command.object_id,
            status=status,
            problem=problem,
            detail=detail,
            result=json.dumps(result),
            answered_at=NOW,
        )


@dataclass
class Breakers:
    """Those of the test."""

    held: dict[str, BreakerChanged] = field(default_factory=dict)

    def all(self) -> dict[str, BreakerChanged]:
        return self.held

    def open_ones(self) -> Sequence[BreakerChanged]:
        return [one for one in self.held.values() if one.state == "open"]


class Records:
    """Every value is the same; what is personal is the name."""

    def source(self) -> Source:
        return Source(lambda _: {}, lambda _: None)

    def show(self, entry: Entry, edited: bytes | None, *, personal: bool) -> tuple[Shown, Shown | None] | None:
        value = {"name": "Jane" if personal else "[redacted]", "channel": "letter"}
        shown = Shown(
            schema="T",
            schema_id=1,
            value=value,
            problem="",
            hex="",
            bytes=3,
            headers={"aios.dlq.error.trace": "aios.dlq.show:shown:9  raise\nValueError"},
            redacted=() if personal else ("value.name",),
        )
        return shown, shown if edited is not None else None


@dataclass
class Served:
    """An operations server on a free port, and a client for it."""

    index: Index
    stage: Stage
    breakers: Breakers
    roads: Roads
    codec: Codec
    client: ClientSession
    url: str

    def request(self, method: str, path: str, *, who: str = "ann", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {token(who)}"} if who else {}
        return self.client.request(method, self.url + path, headers=headers | more.pop("headers", {}), **more)

    def get(self, path: str, **more: Any) -> Any:
        return self.request("GET", path, **more)

    def post(self, path: str, body: Any, **more: Any) -> Any:
        return self.request("POST", path, json=body, **more)


@asynccontextmanager
async def served(limits: OperationsSettings | None = None) -> AsyncIterator[Served]:
    """limits: of this server, default ones otherwise."""
    limits = limits or OperationsSettings()
    codec, roads, index, breakers = Codec(FakeRegistry()), Roads(), Index(), Breakers()
    stage = Stage(index)

    async def reachable() -> bool:
        await asyncio.sleep(0)
        return not roads.away

    api = Api(
        limits,
        Guard(limits, Holders()),
        codec=codec,
        index=index,
        records=Records(),
        jobs=stage,
        edits=stage,
        breakers=breakers,
        answers=stage,
        roads=roads,
        reachable=reachable,
    )
    runner = serve.runner(api)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    try:
        async with ClientSession() as client:
            url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
            yield Served(index, stage, breakers, roads, codec, client, url)
    finally:
        await runner.cleanup()
