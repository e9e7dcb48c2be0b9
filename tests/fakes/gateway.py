"""The gateway's neighbours in memory, for tests of what it answers; tests/broker/test_gateway.py has the real ones."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import ClientSession, web

from aios.schemas.codec import Codec
from aios.schemas.models import PrincipalRegistered, TenantRegistered
from aios.streams.config import EndpointSettings, GatewaySettings
from aios.streams.credentials import digest
from aios.streams.deployments import Catalogue
from aios.streams.document_store import Store
from aios.streams.errors import Unavailable
from aios.streams.gateway.api import Api
from aios.streams.http import serve
from aios.streams.http.guard import TenantGuard
from aios.streams.outcome_views import CaseView, ReviewView
from aios.streams.record import Outgoing
from aios.streams.review_claims import IN_HAND_MAX, Claim
from tests.fakes.registry import FakeRegistry

LOOPBACK = "127.0.0.1"
KEYS = {"acme": "aios_acme-key", "globex": "aios_globex-key"}

TOKENS = {name: f"aios_{name}-token" for name in ("ada", "gus", "bob", "opa", "sue", "una")}
ROLES = {"bob": "analyst", "opa": "operator"}
SKILLS = {"sue": ("sanctions", "calendars"), "una": ("*",)}


class Holders:
    """acme and globex, with their KEYS. ada reviews for all, gus for globex; bob does not; opa operates; sue
    and una have skills."""

    def by_token(self, token: str) -> PrincipalRegistered | None:
        for name, known in TOKENS.items():
            if token == known:
                return PrincipalRegistered(
                    name=name,
                    roles=(ROLES.get(name, "reviewer"),),
                    tenants=("globex",) if name == "gus" else (),
                    token_hashes=(digest(token),),
                    active=True,
                    registered_at=0,
                    skills=SKILLS.get(name, ()),
                )
        return None

    def by_key(self, api_key: str) -> TenantRegistered | None:
        for name, key in KEYS.items():
            if digest(key) == digest(api_key):
                return TenantRegistered(tenant=name, key_hashes=(digest(key),), active=True, registered_at=0)
        return None


@dataclass
class Roads:
    """Keeps what is delivered. away: acknowledges nothing. hold: acknowledges once it is set."""

    delivered: list[Outgoing] = field(default_factory=list)
    away: bool = False
    hold: asyncio.Event | None = None

    async def deliver(self, out: Outgoing) -> None:
        if self.away:
            raise Unavailable("Kafka is away")
        if self.hold is not None:
            await self.hold.wait()
        self.delivered.append(out)


@dataclass
class Outcomes:
    """Says what the test puts here; a tenant sees its own. away: refuses. hangs: never answers. asked: how often."""

    cases: dict[str, CaseView] = field(default_factory=dict)
    tasks: dict[str, ReviewView] = field(default_factory=dict)
    timelines: dict[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    in_hand: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    away: bool = False
    hangs: bool = False
    asked: int = 0

    async def check(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable("Valkey is away")

    async def status(self, case_id: str, tenant: str | None) -> CaseView | None:
        await self.check()
        found = self.cases.get(case_id)
        return found if found is not None and tenant in (None, found.tenant) else None

    async def list_cases(self, *, tenant: str, status: str, workflow: str, limit: int) -> Sequence[CaseView]:
        await self.check()
        mine = [one for one in self.cases.values() if one.tenant == tenant]
        found = [one for one in mine if status in ("", one.status) and workflow in ("", one.workflow)]
        return sorted(found, key=lambda one: -one.changed_at)[:limit]

    async def timeline(self, case_id: str, tenant: str) -> Sequence[Mapping[str, Any]]:
        await self.check()
        if case_id in self.timelines:
            return self.timelines[case_id]
        return [{"case_seq": 1, "transition": "admitted"}] if await self.status(case_id, tenant) else []

    async def wait(self, case_id: str, tenant: str, timeout_s: float, event_id: str = "") -> CaseView | None:
        await self.check()
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            view = await self.status(case_id, tenant)
            if (view is not None and view.at_rest) or asyncio.get_running_loop().time() > deadline:
                return view
            await asyncio.sleep(0.01)

    async def note_accepted(self, case_id: str, tenant: str) -> None:
        await self.check()
        self.cases.setdefault(case_id, CaseView(case_id=case_id, tenant=tenant, status="accepted"))

    async def reviews(self, tenant: str | None, limit: int, after: tuple[int, str] = (0, "")) -> Sequence[ReviewView]:
        await self.check()
        mine = [task for task in self.tasks.values() if tenant in (None, task.tenant) and task.status == "open"]
        mine.sort(key=lambda task: (task.requested_at, task.task_id))
        return [task for task in mine if (task.requested_at, task.task_id) > after][:limit]

    async def review(self, task_id: str, tenant: str | None) -> ReviewView | None:
        await self.check()
        found = self.tasks.get(task_id)
        return found if found is not None and tenant in (None, found.tenant) else None

    async def claim(self, task_id: str, by: str) -> Claim | None:
        await self.check()
        task = self.tasks[task_id]
        if len(self.in_hand[by] - {task_id}) >= IN_HAND_MAX and task.claimed_by in ("", by):
            return None
        if task.claimed_by in ("", by):
            self.tasks[task_id] = replace(task, claimed_by=by, claimed_until=1)
            self.in_hand[by].add(task_id)
        return Claim(by=self.tasks[task_id].claimed_by, until=1)

    async def release(self, task_id: str, by: str) -> Claim | None:
        await self.check()
        task = self.tasks[task_id]
        if task.claimed_by in ("", by):
            self.tasks[task_id] = replace(task, claimed_by="", claimed_until=0)
            self.in_hand[by].discard(task_id)
        return self.tasks[task_id].claim

    async def answered(self, task_id: str, by: str) -> None:
        await self.check()
        self.in_hand[by].discard(task_id)


class Clock:
    """Monotonic seconds that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Served:
    """A gateway on a free port, and a client for it."""

    api: Api
    guard: TenantGuard
    codec: Codec
    roads: Roads
    outcomes: Outcomes
    clock: Clock
    client: ClientSession
    url: str
    kafka: bool = True

    def request(self, method: str, path: str, *, tenant: str = "acme", principal: str = "", **more: Any) -> Any:
        secret = TOKENS.get(principal) or KEYS.get(tenant)
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        headers |= more.pop("headers", {})
        return self.client.request(method, self.url + path, headers=headers, **more)

    def post(self, body: Any, *, workflow: str = "document.triage", **more: Any) -> Any:
        return self.request("POST", f"/v1/workflows/{workflow}/cases", json=body, **more)


@asynccontextmanager
async def served(
    limits: GatewaySettings | None = None,
    *,
    catalogue: Catalogue | None = None,
    endpoints: Mapping[str, EndpointSettings] | None = None,
    documents: Store | None = None,
) -> AsyncIterator[Served]:
    """limits: of this gateway, default ones otherwise. catalogue: what is deployed. endpoints: who tells by webhook.
    documents: what keeps them; None: nothing does.
    """
    limits = limits or GatewaySettings()
    codec, roads, outcomes, clock = Codec(FakeRegistry()), Roads(), Outcomes(), Clock()
    guard = TenantGuard(limits, Holders(), Holders(), clock, endpoints=endpoints)

    async def reachable() -> bool:
        return not roads.away

    api = Api(
        limits,
        guard,
        codec=codec,
        roads=roads,
        outcomes=outcomes,
        reachable=reachable,
        catalogue=catalogue,
        documents=documents,
    )
    runner = serve.runner(api)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    try:
        async with ClientSession() as client:
            url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
            yield Served(api, guard, codec, roads, outcomes, clock, client, url)
    finally:
        await runner.cleanup()
