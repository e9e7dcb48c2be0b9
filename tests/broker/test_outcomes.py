"""What rests in a real Valkey: order and repeats do not matter, tenants see their own, nobody waits in vain."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY as METRICS
from redis import Redis

from aios.infra.local.valkey import Valkey
from aios.schemas.codec import Codec
from aios.schemas.models import Event
from aios.sinks.outcome_writes import TIMELINE_MAX, write_of
from aios.sinks.outcomes import REBUILDING, Emptied, Store
from aios.sinks.questions import Questions
from aios.streams import outcome_layout, outcome_store
from aios.streams.errors import Unavailable
from aios.streams.outcome_layout import EPOCH
from aios.streams.outcome_store import OutcomeStore
from aios.streams.record import Record
from aios.streams.topics import RETENTION_MS
from aios.streams.topology import OUTCOMES
from aios.streams.wall_clock import wall_ms
from tests.broker import outcome_records as records
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.broker
NOW = wall_ms()
CODEC = Codec(FakeRegistry())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One of our own: these tests empty it."""
    valkey = Valkey(tmp_path_factory.mktemp("outcomes"))
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
def redis(server: Valkey) -> Iterator[Redis]:
    with Redis.from_url(server.url, decode_responses=True) as client:
        client.flushall()
        yield client


def dump(redis: Redis) -> dict[str, Any]:
    """Every key's content but the marker."""
    found: dict[str, Any] = {}
    for key in sorted(redis.scan_iter(count=1000)):
        match redis.type(key):
            case "hash":
                found[key] = redis.hgetall(key)
            case "zset":
                found[key] = redis.zrange(key, 0, -1, withscores=True)
            case "string" if key not in (EPOCH, REBUILDING):
                found[key] = redis.get(key)
    return found


def everything() -> list[Record]:
    """Cases of every kind, of two tenants."""
    events = [
        *records.straight("a", NOW),
        *records.waiting("b", NOW + 10),
        *records.by_person("c", NOW + 20, "other"),
        *records.straight("d", NOW + 30),
        records.refused("d", "e2-d", NOW + 40, reason="conflicting_duplicate"),
        records.audit("d", 0, "refused", "refused", NOW + 40, event_id="e2-d"),
        records.refused("never", "e-never", NOW + 50),
        records.refused("never", "e-never", NOW + 51, reason="stale"),
    ]
    out = [records.outgoing(CODEC, event) for event in events]
    return [records.taken(one, offset, NOW + offset) for offset, one in enumerate(out)]


async def apply(server: Valkey, folder: Path, taken: Sequence[Record]) -> None:
    store = Store(server.url, folder / "epoch")
    try:
        await store.ensure(lambda: (write for write in ()))
        await store.apply([write_of(record, CODEC) for record in taken])
    finally:
        await store.close()


def test_order_and_repeats_change_nothing(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Forty shuffles with every record once to three times leave exactly what reading in order leaves."""
    asyncio.run(apply(server, tmp_path, everything()))
    expected = dump(redis)
    assert len(expected) > 20
    for seed in range(40):
        chance = random.Random(seed)
        shuffled = [record for record in everything() for _ in range(chance.randint(1, 3))]
        chance.shuffle(shuffled)
        redis.flushall()
        asyncio.run(apply(server, tmp_path, shuffled))
        assert dump(redis) == expected, f"seed {seed}"


def test_everything_is_forgotten_after_the_retention_window(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Each key but the marker has an end, at most the window after now; what is older than it leaves nothing."""
    asyncio.run(apply(server, tmp_path, everything()))
    for key in redis.scan_iter():
        if key != EPOCH:
            assert 0 < redis.pttl(key) <= RETENTION_MS + 10_000, key
    redis.flushall()
    old = [records.outgoing(CODEC, event) for event in records.by_person("x", NOW - RETENTION_MS - 1000)]
    asyncio.run(apply(server, tmp_path, [records.taken(one, offset, 0) for offset, one in enumerate(old)]))
    assert dump(redis) == {}


def test_a_case_that_waits_for_longer_than_anything_is_kept_stays(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """A meeting in three hundred days: shown and listed forty days after the last word, beside newer ones; decided, it
    is forgotten as any other.
    """
    day = 86_400_000
    later, until = NOW + 40 * day, NOW + 300 * day

    def waits(case: str, at: int) -> list[Event]:
        detail = {"event": "meeting_changed", "until": until, "says": {"slot": "ten"}, "answers_caller": True}
        opened = records.audit(case, 1, "admitted", "admitted", at, event_id=f"e-{case}", lane="bulk")
        return [opened, records.audit(case, 2, "waiting", "booked", at, **detail)]

    def taken(events: list[Event], offset: int) -> list[Record]:
        out = [records.outgoing(CODEC, event) for event in events]
        return [records.taken(one, offset + number, NOW) for number, one in enumerate(out)]

    async def ask() -> list[str]:
        async with outcome_store.opened(server.url) as store:
            view = await store.status("far", "demo")
            assert view is not None
            assert (view.status, view.until, view.waits_from) == ("booked", until, 2)
            assert [one["case_seq"] for one in await store.timeline("far", "demo")] == [1, 2]
            return sorted(one.case_id for one in await store.list_cases(tenant="demo", status="booked"))

    events = [*waits("far", NOW), *waits("near", later), *records.straight("a", later)]
    asyncio.run(apply(server, tmp_path, taken(events, 0)))
    assert asyncio.run(ask()) == ["far", "near"]
    assert redis.pttl(outcome_layout.case_key("far")) > RETENTION_MS
    ended = [records.audit("far", 3, "decided", "decided", NOW, outcome="routed"), records.decided("far", 3, NOW)]
    asyncio.run(apply(server, tmp_path, taken(ended, 100)))
    for key in (outcome_layout.case_key("far"), outcome_layout.timeline_key("far")):
        assert 0 < redis.pttl(key) <= RETENTION_MS + 10_000


def test_what_is_asked_is_answered(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Status, timeline, lists, tasks and refusals, for the tenant whose they are."""

    async def ask() -> None:
        await apply(server, tmp_path, everything())
        async with outcome_store.opened(server.url) as store:
            await questions(store)

    async def questions(store: OutcomeStore) -> None:
        a = await store.status("a", "demo")
        assert a is not None
        assert (a.status, a.outcome, a.label, a.confidence, a.case_seq) == ("decided", "routed", "mortgage", 0.9, 4)
        assert (a.settled, a.workflow_version, a.lane, a.admitted_at) == (True, 1, "bulk", NOW + 3)
        assert len(a.trace_id) == 32
        b = await store.status("b", "demo")
        assert b is not None
        assert (b.status, b.task_id, b.reasons) == ("waiting_for_person", "t-b", ("low_confidence",))
        assert (b.at_rest, b.settled) == (True, False)
        never = await store.status("never", "demo")
        assert never is not None
        assert (never.status, never.reasons) == ("refused", ("stale",))
        steps = await store.timeline("d", "demo")
        assert [(one["case_seq"], one["transition"]) for one in steps] == [
            (1, "admitted"),
            (2, "requested"),
            (3, "answered"),
            (4, "decided"),
            (0, "refused"),
        ]
        assert [view.case_id for view in await store.list_cases(tenant="demo")] == ["d", "b", "a"]
        assert [view.case_id for view in await store.list_cases(tenant=None)] == ["c", "d", "b", "a"]
        assert [view.case_id for view in await store.list_cases(tenant="demo", limit=1)] == ["d"]
        assert [view.case_id for view in await store.list_cases(tenant=None, status="waiting_for_person")] == ["b"]
        assert await store.list_cases(tenant=None, workflow="kyc") == []
        (rests,) = await store.list_cases(tenant=None, resting_ms=b.changed_at + 1)
        assert rests.case_id == "b", "the open one alone"
        assert await store.list_cases(tenant=None, resting_ms=b.changed_at) == []
        (task,) = await store.reviews(None)
        assert (task.task_id, task.status, task.input) == ("t-b", "open", {"text": "My house"})
        done = await store.review("t-c", "other")
        assert done is not None
        assert done.status == "closed"
        assert [one["reason"] for one in await store.refusals("d", "demo")] == ["conflicting_duplicate"]

    asyncio.run(ask())


def test_open_questions_are_listed_page_after_page(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Of one tenant and of all, each once and the oldest first, however many were asked in the same millisecond."""
    chance = random.Random(3)
    asked = [(NOW + chance.randint(0, 2), f"q{n:02}", chance.choice(["demo", "other"])) for n in range(40)]
    events = [
        event
        for at, case, tenant in asked
        for event in (
            records.audit(case, 1, "review_requested", "asked", at, tenant, task_id=f"t-{case}"),
            records.asked(case, at, tenant),
        )
    ]

    async def pages(store: OutcomeStore, tenant: str | None) -> list[str]:
        found: list[str] = []
        after = (0, "")
        while page := await store.reviews(tenant, 3, after):
            found += [one.task_id for one in page]
            after = (page[-1].requested_at, page[-1].task_id)
        return found

    async def ask() -> None:
        taken = [records.taken(records.outgoing(CODEC, event), offset, NOW) for offset, event in enumerate(events)]
        await apply(server, tmp_path, taken)
        async with outcome_store.opened(server.url) as store:
            for tenant in ("demo", "other", None):
                assert await pages(store, tenant) == [
                    f"t-{case}" for _, case, whose in sorted(asked) if tenant in (None, whose)
                ]

    asyncio.run(ask())


def test_a_tenant_sees_nothing_of_another(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Knowing every id of it does not help."""

    async def ask() -> None:
        await apply(server, tmp_path, everything())
        async with outcome_store.opened(server.url) as store:
            assert await store.status("a", "other") is None
            assert await store.status("never", "other") is None
            assert await store.timeline("a", "other") == []
            assert await store.review("t-b", "other") is None
            assert await store.reviews("other") == []
            assert await store.refusals("d", "other") == []
            assert await store.refusal("e-never", "other") is None
            assert {view.tenant for view in await store.list_cases(tenant="other")} == {"other"}
            await store.note_accepted("fresh", "demo")
            assert await store.status("fresh", "other") is None

    asyncio.run(ask())


def test_a_case_is_accepted_until_it_is_seen(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """A note that comes after the case itself is none."""

    async def ask() -> None:
        await apply(server, tmp_path, [])
        async with outcome_store.opened(server.url) as store:
            assert await store.status("a", "demo") is None
            await store.note_accepted("a", "demo")
            view = await store.status("a", "demo")
            assert view is not None
            assert (view.status, view.at_rest) == ("accepted", False)
            await apply(server, tmp_path, everything())
            await store.note_accepted("a", "demo")
            after = await store.status("a", "demo")
            assert after is not None
            assert after.status == "decided"
            assert not redis.exists(outcome_layout.accepted_key("a"))

    asyncio.run(ask())


def test_whoever_waits_wakes_with_the_outcome(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Two hundred callers of a decision, a question to a person and a refusal; long before the next re-read."""
    outcome_store_reread = outcome_store.REREAD_S

    async def ask() -> None:
        await apply(server, tmp_path, [])
        async with outcome_store.opened(server.url) as store:
            cases = [("a", ""), ("b", ""), ("d", "e2-d"), ("never", "e-never")]
            waits = [asyncio.create_task(store.wait(case, "demo", 20, event_id=event)) for case, event in cases * 50]
            subscribed = time.monotonic() + 5
            while not redis.pubsub_numsub(outcome_layout.MOVED)[0][1]:
                assert time.monotonic() < subscribed
                await asyncio.sleep(0.005)
            await apply(server, tmp_path, everything())
            started = time.monotonic()
            views = await asyncio.gather(*waits)
            assert time.monotonic() - started < 5
            assert {(view.case_id, view.status) for view in views if view is not None} == {
                ("a", "decided"),
                ("b", "waiting_for_person"),
                ("d", "refused"),
                ("never", "refused"),
            }
            assert all(view is not None and view.at_rest for view in views)
            none = await store.wait("nobody", "demo", 0.05)
            assert none is None

    outcome_store.REREAD_S = 30
    try:
        asyncio.run(ask())
    finally:
        outcome_store.REREAD_S = outcome_store_reread


def test_a_case_that_waits_for_an_event_says_what_it_has_come_to(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Whoever waits for it is given that; an event kept for later changes nothing; then the decision has its output."""
    waits = {"event": "changed", "until": NOW + 3_600_000, "says_hash": "…", "answers_caller": True}
    events = [
        records.audit("w", 1, "admitted", "admitted", NOW, event_id="e-w"),
        replace(records.audit("w", 2, "waiting", "booked", NOW + 1, **waits), shown='{"slot":"nine"}'),
        records.audit("w", 3, "told", "booked", NOW + 2, event_id="t1", kind="other", kept=True),
    ]
    out = [records.outgoing(CODEC, event) for event in events]
    read = [records.taken(one, offset, NOW) for offset, one in enumerate(out)]
    moved = records.outgoing(CODEC, records.audit("w", 4, "told", "booked", NOW + 3, event_id="t2", kind="changed"))
    ended = records.outgoing(CODEC, replace(records.decided("w", 5, NOW + 4), output='{"slot":"ten"}'))

    async def ask() -> None:
        for order in (read, list(reversed(read))):
            redis.flushall()
            await apply(server, tmp_path, order)
            async with outcome_store.opened(server.url) as store:
                view = await store.wait("w", "demo", 5)
                assert view is not None
                assert (view.status, view.says, view.until, view.at_rest) == (
                    "booked",
                    {"slot": "nine"},
                    NOW + 3_600_000,
                    True,
                )
                assert not view.settled
        await apply(server, tmp_path, [*read, records.taken(moved, 3, NOW)])
        async with outcome_store.opened(server.url) as store:
            view = await store.status("w", "demo")
            assert view is not None
            assert (view.says, view.at_rest) == (None, False)
            await apply(server, tmp_path, [*read, records.taken(ended, 4, NOW)])
            view = await store.status("w", "demo")
            assert view is not None
            assert (view.output, view.says, view.settled) == ({"slot": "ten"}, None, True)

    asyncio.run(ask())


def test_a_workflow_may_have_its_outcomes_forgotten_earlier(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Case and timeline end by the file's days, whichever of decision and transitions comes first."""
    *before, _ = records.straight("r", NOW)
    decision = replace(records.decided("r", 4, NOW + 5), retain_days=2)
    events = [*before, decision]
    read = [records.taken(records.outgoing(CODEC, event), offset, NOW) for offset, event in enumerate(events)]
    for order in (read, list(reversed(read))):
        redis.flushall()
        asyncio.run(apply(server, tmp_path, order))
        ends = decision.decided_at + 2 * 86_400_000
        assert [redis.pexpiretime(key) for key in (outcome_layout.case_key("r"), outcome_layout.timeline_key("r"))] == [
            ends
        ] * 2


def test_an_earlier_refusal_is_not_the_answer_for_a_new_event(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """The same key published again after a refusal waits for its own outcome."""

    async def ask() -> None:
        await apply(server, tmp_path, everything())
        async with outcome_store.opened(server.url) as store:
            view = await store.wait("never", "demo", 0.05, event_id="e-again")
            assert view is not None
            assert (view.status, view.at_rest) == ("accepted", False)

    asyncio.run(ask())


def test_an_emptied_store_takes_no_writes_and_says_so(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Until it is rebuilt: no write, and no reader hears "not found"."""

    async def ask() -> None:
        store = Store(server.url, tmp_path / "epoch")
        writes = [write_of(record, CODEC) for record in everything()]
        try:
            await store.ensure(lambda: (write for write in writes))
            before = dump(redis)
            redis.flushall()
            with pytest.raises(Emptied):
                await store.apply(writes[:3])
            assert dump(redis) == {}
            async with outcome_store.opened(server.url) as reader:
                for question in (reader.status("a", "demo"), reader.review("t-b", "demo"), reader.check()):
                    with pytest.raises(Unavailable):
                        await question
            await store.ensure(lambda: (write for write in writes))
            assert dump(redis) == before
            await store.apply(writes[:3])
            assert dump(redis) == before
        finally:
            await store.close()

    asyncio.run(ask())


def test_a_store_that_was_replaced_is_filled_again(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Another epoch than the home last saw, at the start as well as while running; several processes settle on one."""

    async def ask() -> None:
        writes = [write_of(record, CODEC) for record in everything()]
        await apply(server, tmp_path, everything())
        before = dump(redis)
        redis.flushall()
        redis.set(EPOCH, "of a backup")
        one, two = Store(server.url, tmp_path / "epoch"), Store(server.url, tmp_path / "other-machine")
        try:
            await one.ensure(lambda: (write for write in writes))
            assert dump(redis) == before
            assert (one.epoch, redis.get(EPOCH)) == ("of a backup", "of a backup")
            await two.ensure(lambda: (write for write in writes))
            redis.flushall()
            await asyncio.gather(*(ensured(store, writes) for store in (one, two)))
            assert one.epoch == two.epoch == redis.get(EPOCH)
            assert dump(redis) == before
        finally:
            await one.close()
            await two.close()

    async def ensured(store: Store, writes: Sequence[Any]) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                return await store.ensure(lambda: (write for write in writes))
            except Unavailable:
                await asyncio.sleep(0.02)
        raise TimeoutError

    asyncio.run(ask())


def test_a_case_that_is_asked_about_without_end_stays_bounded(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """How it began and what came last are kept, whatever order the transitions come in; those between move the case."""
    half, last = TIMELINE_MAX // 2, 2 * TIMELINE_MAX
    events = [records.audit("a", seq, "ignored", "decided", NOW + seq) for seq in range(1, last + 1)]
    taken = [records.taken(records.outgoing(CODEC, event), seq, NOW) for seq, event in enumerate(events)]
    for seed in range(4):
        redis.flushall()
        asyncio.run(apply(server, tmp_path, taken))
        kept = {int(seq) for seq in redis.hkeys(outcome_layout.timeline_key("a"))}
        assert kept == {*range(1, half + 1), *range(last - half + 1, last + 1)}, f"seed {seed}"
        assert redis.hget(outcome_layout.case_key("a"), "seq") == str(last)
        random.Random(seed).shuffle(taken)


def test_what_a_case_can_be_told_is_known_however_long_it_runs(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Of the version that it was moved to last, in whatever order; where who moved it said nothing, it is open."""
    late = TIMELINE_MAX + 7
    events = [
        records.audit("a", late, "migrated", "asked", NOW + 2, hears=["paid"], workflow_version=3),
        records.audit("a", 1, "admitted", "admitted", NOW, hears=["changed"], workflow_version=2),
        records.audit("b", 1, "admitted", "admitted", NOW, hears=["changed"], workflow_version=2),
        records.audit("b", 2, "migrated", "asked", NOW + 1, workflow_version=3),
        records.audit("c", 1, "admitted", "admitted", NOW, hears=[], workflow_version=2),
    ]
    taken = [records.taken(records.outgoing(CODEC, event), offset, NOW) for offset, event in enumerate(events)]

    async def ask() -> None:
        await apply(server, tmp_path, taken)
        async with outcome_store.opened(server.url) as store:
            found = {case: await store.status(case, "demo") for case in "abc"}
        known = {case: (view.hears, view.workflow_version) for case, view in found.items() if view is not None}
        assert known == {"a": (("paid",), 3), "b": (None, 3), "c": ((), 2)}

    asyncio.run(ask())


def test_a_record_that_returns_by_the_retry_topic_means_the_same(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """It says by its schema what it is."""
    out = records.outgoing(CODEC, records.straight("a", NOW)[4])
    record = records.taken(out, 1, NOW)
    returned = Record(OUTCOMES.retries.name, 0, 9, NOW, record.key, record.value, record.headers)
    assert write_of(returned, CODEC) == write_of(record, CODEC)


def test_how_many_questions_wait_and_how_old_the_oldest_is(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """For alerts: of all tenants, as a share of the time in which it may be answered; 0 again once all are answered."""

    def asked(case: str, at: int, tenant: str) -> list[Event]:
        task = records.audit(case, 1, "review_requested", "waiting_for_person", at, tenant, task_id=f"t-{case}")
        return [task, records.asked(case, at, tenant)]

    def answered(case: str, at: int, tenant: str) -> list[Event]:
        done = records.audit(case, 2, "decided", "decided", at, tenant)
        return [done, records.decided(case, 2, at, tenant)]

    def measured() -> tuple[float | None, float | None]:
        of = {"workflow": records.WORKFLOW}
        return METRICS.get_sample_value("aios_reviews_open"), METRICS.get_sample_value("aios_review_oldest_share", of)

    async def write(events: Sequence[Event], first: int) -> None:
        made = [records.taken(records.outgoing(CODEC, event), first + at, NOW) for at, event in enumerate(events)]
        await apply(server, tmp_path, made)

    async def ask() -> None:
        async with outcome_store.opened(server.url) as store:
            questions = Questions(store)
            await write([*asked("a", NOW, "demo"), *asked("b", NOW + 500, "other"), *asked("c", NOW, "demo")], 0)
            await questions.look(NOW + 750)
            assert measured() == (3, 0.75)
            await write([*answered("a", NOW + 760, "demo"), *answered("c", NOW + 760, "demo")], 10)
            await questions.look(NOW + 800)
            assert measured() == (1, 0.3)
            await write(answered("b", NOW + 810, "other"), 20)
            await questions.look(NOW + 820)
            assert measured() == (0, 0)

    asyncio.run(ask())
