"""Where a case stands, for those who ask: the reading side of Valkey (or Redis); outcome_layout.py names its keys.

Enters: a case id, event id, task id, key or tenant. Leaves: the status, timeline, decision, open review tasks,
refusals that sinks/outcomes.py put there, with the dead letters of sinks/letters.py; and a wake-up for callers that
wait. Guaranteed: a tenant is never shown what is another's; what is shown has been committed in Kafka; a waiting
caller wakes when the outcome is written, and reads again every REREAD_S in case nobody woke it. Everything here can
be rebuilt from the topics and is forgotten after topics.RETENTION_HOURS; an open case stays that long after its wait is
over, but is not rebuilt where its records are older. Valkey away, or emptied and not yet rebuilt: Unavailable, never
"not found".

What is shown is outcome_views.py's; that a case is `accepted` is the one thing here that no topic tells.

Rejected: a subscription per waiting caller (one connection each; one channel for all wakes only those concerned),
Redis Cluster (a case and the lists it stands in are written by one script).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from time import monotonic
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from aios.schemas.models import BreakerChanged
from aios.streams import review_claims, waiting
from aios.streams.errors import Unavailable
from aios.streams.outcome_layout import (
    EPOCH,
    LETTERS_EPOCH,
    LISTS,
    MOVED,
    REVIEW_TENANTS,
    accepted_key,
    acts_key,
    case_key,
    letter_key,
    letters_key,
    list_key,
    open_letters_key,
    refusal_key,
    refusals_key,
    review_key,
    reviews_key,
    timeline_key,
)
from aios.streams.outcome_views import (
    ACCEPTED,
    ENDED,
    REFUSED,
    CaseView,
    ReviewView,
    case_view,
    refused_view,
    task_view,
)
from aios.streams.review_claims import Claim
from aios.streams.topics import RETENTION_MS

CONNECTIONS_MAX = 64
ANSWER_S_MAX = 5.0
REREAD_S = 1.0  # of a waiting caller, in case a notification was lost
LISTS_MAX = 10_000  # of cases: tenants x workflows x statuses that one question looks at
LISTED_MAX = 1_000  # things one question returns


T = TypeVar("T")


class OutcomeStore:
    """The reading side; one per process and event loop. tenant: whose question it is; None: the operator's.

    Every method raises Unavailable when Valkey does not answer.
    """

    def __init__(
        self,
        url: str,
        *,
        circuits: Callable[[], Collection[BreakerChanged]] = tuple,
    ) -> None:
        """circuits: those towards outside systems that are not closed, for what a case waits for."""
        self._redis = connect(url, connections_max=CONNECTIONS_MAX)
        self._circuits = circuits
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def check(self) -> None:
        """Raises Unavailable unless Valkey answers and holds everything."""
        (epoch,) = await self._ask(("get", EPOCH))
        _there(epoch)

    async def note_accepted(self, case_id: str, tenant: str) -> None:
        """The gateway has the event in Kafka: from now on the case is `accepted`, until plan or admit is seen."""
        with _unavailable():
            seen = await self._redis.exists(case_key(case_id), refusals_key(case_id))
            if not seen:
                await self._redis.set(accepted_key(case_id), tenant, px=RETENTION_MS, nx=True)

    async def status(self, case_id: str, tenant: str | None) -> CaseView | None:
        """The case; None if nobody has seen it here (or it is another tenant's)."""
        case, accepted, refusals, dead, epoch = await self._ask(
            ("hgetall", case_key(case_id)),
            ("get", accepted_key(case_id)),
            ("zrevrange", refusals_key(case_id), 0, LISTED_MAX),
            ("smembers", open_letters_key(case_id)),
            ("get", EPOCH),
        )
        view: CaseView | None = None
        if case:
            view = await self._with_task(case_view(case_id, case))
        elif refusals:
            view = refused_view([one for one in map(json.loads, refusals) if _is(one["tenant"], tenant)], case_id)
        elif accepted is not None:
            view = CaseView(case_id=case_id, tenant=accepted, status=ACCEPTED)
        if view is None:
            _there(epoch)
            return None
        if not _is(view.tenant, tenant):
            return None
        if view.settled:
            return view
        return replace(view, dead_letters=tuple(sorted(dead)), waits_for=await self._waits_for(case_id, view.tenant))

    async def _waits_for(self, case_id: str, tenant: str) -> tuple[Mapping[str, Any], ...]:
        """Asked only while some system is away, or an endpoint of this tenant."""
        away = [one for one in self._circuits() if one.tenant in ("", tenant)]
        return tuple(waiting.waits_for(await self.timeline(case_id, tenant), away)) if away else ()

    async def timeline(self, case_id: str, tenant: str | None) -> list[dict[str, Any]]:
        """Transitions in the case's order, then acts outside it by time. For acts on a dead letter: its id."""
        transitions, acts = await self._ask(
            ("hgetall", timeline_key(case_id)), ("zrange", acts_key(case_id), 0, LISTED_MAX)
        )
        ordered = [json.loads(transitions[seq]) for seq in sorted(transitions, key=int)]
        return [one for one in (*ordered, *map(json.loads, acts)) if _is(one["tenant"], tenant)]

    async def wait(self, case_id: str, tenant: str | None, timeout_s: float, event_id: str = "") -> CaseView | None:
        """The case once it is at rest; after timeout_s as it stands then, None if nobody has seen it.

        event_id: the caller's own event; if that is refused, the refusal is the answer whatever the case does.
        """
        self._listen()
        deadline = monotonic() + timeout_s
        with self._woken(case_id, event_id) as moved:
            while True:
                moved.clear()
                view = await self._of_event(case_id, event_id, tenant)
                left = deadline - monotonic()
                if left <= 0 or (view is not None and view.at_rest):
                    return view
                try:
                    await asyncio.wait_for(moved.wait(), min(left, REREAD_S))
                except TimeoutError:
                    continue

    async def list_cases(
        self, *, tenant: str | None, status: str = "", workflow: str = "", limit: int = 50, resting_ms: int = 0
    ) -> list[CaseView]:
        """The cases that changed last, newest first. limit: at most LISTED_MAX.

        resting_ms: of the open cases alone, those that have not changed since then.
        """
        limit = min(limit, LISTED_MAX)
        (names,) = await self._ask(("zrevrange", LISTS, 0, LISTS_MAX))
        wanted = [name for name in names if _matches(name, tenant, workflow, status, is_open=bool(resting_ms))]
        if not wanted or limit < 1:
            return []
        until, some = f"({resting_ms}" if resting_ms else "+inf", ("limit", 0, limit, "withscores")
        found = await self._ask(*(("zrevrangebyscore", list_key(name), until, "-inf", *some) for name in wanted))
        newest = sorted((pair for one in found for pair in _pairs(one)), key=lambda pair: (-pair[1], pair[0]))[:limit]
        if not newest:
            return []
        cases = await self._ask(*(("hgetall", case_key(case_id)) for case_id, _ in newest))
        views = [case_view(case_id, case) for (case_id, _), case in zip(newest, cases, strict=True) if case]
        return [view for view in views if _is(view.tenant, tenant)]

    async def reviews(self, tenant: str | None, limit: int = 50, after: tuple[int, str] = (0, "")) -> list[ReviewView]:
        """Open tasks, the longest waiting first. limit: at most LISTED_MAX. after: those that follow the task which was
        asked then and has this id.
        """
        limit = min(limit, LISTED_MAX)
        tenants = [tenant]
        if tenant is None:
            (tenants,) = await self._ask(("zrange", REVIEW_TENANTS, 0, LISTS_MAX))
        if limit < 1:
            return []
        found = await asyncio.gather(*(self._asked(str(one), limit, after) for one in tenants))
        oldest = sorted(pair for one in found for pair in one)[:limit]
        if not oldest:
            return []
        bodies, claims = await self._ask(
            ("mget", *(review_key(task_id) for _, task_id in oldest)),
            ("mget", *(review_claims.claim_key(task_id) for _, task_id in oldest)),
        )
        asked = [(json.loads(body), held) for body, held in zip(bodies, claims, strict=True) if body is not None]
        return [task_view(said, review_claims.read(held), is_open=True) for said, held in asked]

    async def reviews_open(self) -> int:
        """How many tasks are open, of all tenants."""
        (tenants,) = await self._ask(("zrange", REVIEW_TENANTS, 0, LISTS_MAX))
        return sum(await self._ask(*(("zcard", reviews_key(str(one))) for one in tenants))) if tenants else 0

    async def _asked(self, tenant: str, limit: int, after: tuple[int, str]) -> list[tuple[float, str]]:
        """When the first `limit` of a tenant's open tasks behind that place were asked, and their ids. As many as you
        like may have been asked in the same millisecond.
        """
        found: list[tuple[float, str]] = []
        for offset in count(step=limit):
            some = (after[0], "+inf", "withscores", "limit", offset, limit)
            (page,) = await self._ask(("zrangebyscore", reviews_key(tenant), *some))
            pairs = [(at, task_id) for task_id, at in _pairs(page)]
            found += [pair for pair in pairs if pair > after]
            if len(pairs) < limit or len(found) >= limit:
                break
        return found

    async def review(self, task_id: str, tenant: str | None) -> ReviewView | None:
        """One task, open or not."""
        body, held, epoch = await self._ask(
            ("get", review_key(task_id)), ("get", review_claims.claim_key(task_id)), ("get", EPOCH)
        )
        if body is None:
            _there(epoch)
            return None
        said = json.loads(body)
        if not _is(said["tenant"], tenant):
            return None
        (waits_for,) = await self._ask(("hget", case_key(said["case_id"]), "task"))
        return task_view(said, review_claims.read(held), is_open=waits_for == task_id)

    async def claim(self, task_id: str, by: str) -> Claim | None:
        """See review_claims.py."""
        with _unavailable():
            return await review_claims.claim(self._redis, task_id, by)

    async def release(self, task_id: str, by: str) -> Claim | None:
        """See review_claims.py."""
        with _unavailable():
            return await review_claims.release(self._redis, task_id, by)

    async def answered(self, task_id: str, by: str) -> None:
        """See review_claims.py."""
        with _unavailable():
            await review_claims.answered(self._redis, task_id, by)

    async def refusals(self, case_id: str, tenant: str | None) -> list[dict[str, Any]]:
        """Events refused under this case's id (before there was a case, or for another body), newest first."""
        (found,) = await self._ask(("zrevrange", refusals_key(case_id), 0, LISTED_MAX))
        return [one for one in map(json.loads, found) if _is(one["tenant"], tenant)]

    async def refusal(self, event_id: str, tenant: str) -> dict[str, Any] | None:
        """Why this event was refused; the newest, if a producer used the id again."""
        (found,) = await self._ask(("zrevrange", refusal_key(tenant, event_id), 0, 0))
        return cast(dict[str, Any], json.loads(found[0])) if found else None

    async def dead_letters(self, key: str, tenant: str | None) -> list[dict[str, Any]]:
        """Dead letters whose record has this key, newest first, with their state. Case ids are keys too."""
        found, epoch = await self._ask(("zrevrange", letters_key(key), 0, LISTED_MAX), ("get", LETTERS_EPOCH))
        if epoch is None:
            raise Unavailable("dead letters are being read from the topics again; ask later")
        if not found:
            return []
        said = await self._ask(*(("hmget", letter_key(one.split(":", 1)[1]), "body", "now") for one in found))
        letters = [json.loads(body) | {"state": state} for body, state in said if body is not None]
        return [one for one in letters if _is(one["tenant"], tenant)]

    async def _of_event(self, case_id: str, event_id: str, tenant: str | None) -> CaseView | None:
        """As status(), but of the refusals only the event's own counts, and before anything else."""
        view = await self.status(case_id, tenant)
        if not event_id:
            return view
        found = await self.refusal(event_id, tenant) if tenant is not None else None
        if found is not None:
            return refused_view([found], case_id)
        if view is not None and view.status == REFUSED:  # an earlier event of this case was; this one is on its way
            return CaseView(case_id=case_id, tenant=view.tenant, status=ACCEPTED)
        return view

    async def _with_task(self, view: CaseView) -> CaseView:
        if not view.task_id:
            return view
        (body,) = await self._ask(("get", review_key(view.task_id)))
        return view if body is None else replace(view, reasons=tuple(json.loads(body)["reasons"]))

    async def _ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Several commands in one round trip, not a transaction."""
        with _unavailable():
            pipe = self._redis.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return await pipe.execute()

    @contextmanager
    def _woken(self, *names: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        for name in names:
            self._waiting.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            for name in names:
                self._waiting[name].discard(event)
                if not self._waiting[name]:
                    del self._waiting[name]

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = asyncio.create_task(self._follow(), name="outcomes moved")

    async def _follow(self) -> None:
        """Wake whom a message concerns; after a broken connection everybody, who then reads again."""
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(MOVED)
                    async for message in channel.listen():
                        names = [message["data"]] if message["type"] == "message" else list(self._waiting)
                        for event in [event for name in names for event in self._waiting.get(name, ())]:
                            event.set()
            except RedisError:
                await asyncio.sleep(REREAD_S)


def connect(url: str, *, connections_max: int) -> Redis:
    """A client whose callers wait for a free connection, and never longer than ANSWER_S_MAX for an answer."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=ANSWER_S_MAX,
        socket_timeout=ANSWER_S_MAX,
        socket_connect_timeout=ANSWER_S_MAX,
        decode_responses=True,
        protocol=2,
    )
    return Redis(connection_pool=pool)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[OutcomeStore]:
    """A store that is closed again."""
    store = OutcomeStore(url)
    try:
        yield store
    finally:
        await store.close()


def ask(url: str, question: Callable[[OutcomeStore], Awaitable[T]]) -> T:
    """For commands: one question without an event loop of one's own. Raises Unavailable."""

    async def once() -> T:
        async with opened(url) as store:
            return await question(store)

    return asyncio.run(once())


def _matches(name: str, tenant: str | None, workflow: str, status: str, *, is_open: bool) -> bool:
    its_tenant, its_workflow, its_status = json.loads(name)
    if is_open and its_status in ENDED:
        return False
    return _is(its_tenant, tenant) and workflow in ("", its_workflow) and status in ("", its_status)


def _is(its_tenant: str, tenant: str | None) -> bool:
    return tenant is None or its_tenant == tenant


def _pairs(with_scores: Sequence[Any]) -> list[tuple[str, float]]:
    """A sorted set's answer as pairs, flat or paired as the protocol gives it."""
    if with_scores and isinstance(with_scores[0], list | tuple):
        return [(str(member), float(score)) for member, score in with_scores]
    return [(str(m), float(s)) for m, s in zip(with_scores[::2], with_scores[1::2], strict=True)]


def _there(epoch: str | None) -> None:
    if epoch is None:
        raise Unavailable("outcomes are being read from the topics again; ask later")


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise Unavailable(f"the outcome store does not answer: {type(error).__name__}") from error
