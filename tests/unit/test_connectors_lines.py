"""One endpoint or one tenant that hangs, fails or asks much holds up no other of the same outside system."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import envelope
from aios.dlq.settle import Settler
from aios.processors.connectors import lines
from aios.processors.connectors.calling import Calling
from aios.processors.connectors.command import Commands
from aios.processors.connectors.connector import Ask, Setup
from aios.processors.connectors.gate import Aside, Gate, Permit
from aios.processors.connectors.guard import Guard
from aios.processors.connectors.lines import IN_LINE_MAX, Party
from aios.processors.connectors.opened import Opened
from aios.processors.connectors.webhook import Message, Taken, Webhook, _unheard
from aios.schemas.codec import Codec
from aios.schemas.models import ConnectorCompleted
from aios.streams import installed
from aios.streams.config import ConnectorsSettings, EndpointSettings, Settings
from aios.streams.kafka import Place
from aios.streams.record import Outgoing, Record
from aios.streams.system_files import Circuit, Goal, Limits, System
from aios.streams.topology import CONNECTORS
from aios.streams.wall_clock import wall_ms
from tests.fakes import virtual_time
from tests.fakes.breakers import OwnBreakers
from tests.fakes.calls import requested
from tests.fakes.registry import FakeRegistry
from tests.unit.test_connectors_calling import Free, Log

SYSTEM = System(
    system="bank",
    does="books",
    connector="bank",
    limits=Limits(calls_max=8, rate_per_s=1_000, call_s_max=1.0),
    circuit=Circuit(failures_max=3, open_s=1.0, open_s_max=4.0),
    objective=Goal(p95_ms=1000),
)
SECRET = "a-secret-of-more-than-24-bytes"
PATIENT_S = 600.0


def gate() -> Gate:
    return Gate(SYSTEM, lambda _change, _word: None, clock=virtual_time.now)


@pytest.mark.parametrize("is_endpoint", [True, False])
def test_the_last_places_are_for_who_has_none(is_endpoint: bool) -> None:
    """One that hangs has three quarters of the room; ten others pass through the rest, one after the other."""

    async def work() -> tuple[int, list[str]]:
        door, passed = gate(), list[str]()
        hangs = [
            asyncio.create_task(door.enter(virtual_time.now() + 60, lambda: True, Party("hangs", is_endpoint)))
            for _ in range(20)
        ]
        await asyncio.sleep(1.0)
        held = door.calls

        async def other(name: str) -> None:
            permit = await door.enter(virtual_time.now() + PATIENT_S, lambda: True, Party(name, is_endpoint))
            assert permit is not None
            await asyncio.sleep(0.1)
            passed.append(name)
            door.succeed(permit)

        await asyncio.gather(*(other(f"n{number}") for number in range(10) for _ in range(5)))
        assert virtual_time.now() < 1_000.0 + 60  # nobody of those that hang was sent away for it
        for task in hangs:
            task.cancel()
        return held, passed

    held, passed = virtual_time.run(work())
    assert held == SYSTEM.limits.calls_max * 3 // 4
    assert len(passed) == 50


def test_who_asks_much_waits_and_not_the_others() -> None:
    """500 commands of one tenant with the earlier deadlines, then one of another: it is among the next."""

    async def work() -> int:
        door, order = gate(), list[str]()

        async def one(name: str, deadline_s: float) -> None:
            permit = await door.enter(virtual_time.now() + deadline_s, lambda: True, Party(name))
            assert permit is not None
            order.append(name)
            await asyncio.sleep(0.05)
            door.succeed(permit)

        much = [asyncio.create_task(one("much", PATIENT_S)) for _ in range(500)]
        await asyncio.sleep(0.2)
        await one("little", 2 * PATIENT_S)
        at = order.index("little")
        await asyncio.gather(*much)
        return at

    assert virtual_time.run(work()) < 60


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    away=st.sets(st.integers(0, 5), max_size=3),
    count=st.integers(1, 60),
)
def test_endpoints_fail_one_by_one(seed: int, away: set[int], count: int) -> None:
    """Whatever is away: the others' calls are made in a bounded time, the room holds, and the system stays closed."""

    async def work() -> None:
        chance, door, most = Random(seed), gate(), 0
        tried = dict.fromkeys(range(6), 0)

        async def one(endpoint: int) -> None:
            nonlocal most
            until = virtual_time.now() + 30.0
            while True:
                permit = await door.enter(until, lambda: True, Party(f"e{endpoint}", True))
                if permit is None:
                    return
                most = max(most, door.calls)
                tried[endpoint] += 1
                await asyncio.sleep(SYSTEM.limits.call_s_max if endpoint in away else chance.uniform(0.0, 0.1))
                if endpoint not in away:
                    door.succeed(permit)
                    return
                door.fail_endpoint(permit, "no_answer")

        others = [
            asyncio.create_task(one(endpoint)) for endpoint in range(6) if endpoint not in away for _ in range(count)
        ]
        lost = [asyncio.create_task(one(endpoint)) for endpoint in away for _ in range(count)]
        begun = virtual_time.now()
        await asyncio.gather(*others)
        took = virtual_time.now() - begun
        await asyncio.gather(*lost)
        assert took < 6.0 + count * 0.6
        assert most <= SYSTEM.limits.calls_max
        assert door.circuit.state.value == "closed"
        for endpoint in away:  # as many as had begun before it was known, and then probes: 1, 2, 4, 4 … seconds apart
            assert tried[endpoint] <= SYSTEM.limits.calls_max + SYSTEM.circuit.failures_max + 10
        assert door.calls == 0

    virtual_time.run(work())


def test_behind_an_endpoint_that_is_away_a_few_wait_and_the_others_go_aside() -> None:
    """The most patient go; who was tried before stays; where it is there again they pass."""

    async def work() -> list[str]:
        door, far = gate(), Party("far", is_endpoint=True)
        now = virtual_time.now()
        for _ in range(SYSTEM.circuit.failures_max):
            permit = await door.enter(now + 5, lambda: True, far)
            assert permit is not None
            door.fail_endpoint(permit, "http_500")
        assert door.is_away(far)

        async def one(number: int, *, is_new: bool) -> str:
            try:
                permit = await door.enter(now + 60 + number, lambda: True, far, aside_until=now + 60 if is_new else 0.0)
            except Aside:
                return f"aside {number}"
            assert permit is not None
            door.succeed(permit)
            return f"passed {number}"

        old = [asyncio.create_task(one(1_000 + number, is_new=False)) for number in range(3)]
        new = [asyncio.create_task(one(number, is_new=True)) for number in range(40)]
        ends = await asyncio.gather(*old, *new)
        assert door.waiting == 0
        return list(ends)

    ends = virtual_time.run(work())
    assert {f"passed {1_000 + number}" for number in range(3)} <= set(ends)
    assert {end for end in ends if end.startswith("aside")} >= {f"aside {number}" for number in range(20, 40)}
    assert sum(end.startswith("passed") for end in ends) <= IN_LINE_MAX + 3


def test_who_would_not_be_back_before_its_deadline_does_not_go_aside() -> None:
    """It waits here: where it would go, its deadline would pass."""

    async def work() -> tuple[int, int]:
        door, far = gate(), Party("far", is_endpoint=True)
        now = virtual_time.now()
        for _ in range(SYSTEM.circuit.failures_max):
            permit = await door.enter(now + 5, lambda: True, far)
            assert permit is not None
            door.fail_endpoint(permit, "http_500")
        asked = [
            asyncio.create_task(door.enter(now + 20 + number, lambda: True, far, aside_until=until))
            for number in range(30)
            for until in [now + 10.0 if number % 2 else now]
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = door.waiting
        door.leave()
        ends = await asyncio.gather(*asked, return_exceptions=True)
        return waiting, sum(isinstance(end, Aside) for end in ends)

    waiting, aside = virtual_time.run(work())
    assert (waiting, aside) == (23, 7)  # each second one behind the sixteenth


def test_many_endpoints_that_are_away_do_not_fill_what_a_process_has_in_hand() -> None:
    """All together have a share of it: forty of them, twenty commands each."""

    async def work() -> int:
        door, now = gate(), virtual_time.now()
        far = [Party(f"far{number}", is_endpoint=True) for number in range(40)]
        for each in far:
            for _ in range(SYSTEM.circuit.failures_max):
                permit = await door.enter(now + 60, lambda: True, each)
                assert permit is not None
                door.fail_endpoint(permit, "http_500")
        asked = [
            asyncio.create_task(door.enter(now + 600, lambda: True, each, aside_until=now + 500))
            for each in far
            for _ in range(20)
        ]
        await asyncio.sleep(0.01)
        waiting = door.waiting
        door.leave()
        await asyncio.gather(*asked, return_exceptions=True)
        return waiting

    assert 40 <= virtual_time.run(work()) <= SYSTEM.limits.waiting_max // lines.AWAY_SHARE


def test_lines_that_mean_nothing_any_more_are_forgotten() -> None:
    async def work() -> int:
        door = gate()
        for number in range(lines.KEPT_MAX + 300):
            for party in (Party(f"t{number}"), Party(f"e{number}", is_endpoint=True)):
                permit = await door.enter(virtual_time.now() + 60, lambda: True, party)
                assert isinstance(permit, Permit)
                door.succeed(permit)
        door.sweep()
        return len(list(door._lines))

    assert virtual_time.run(work()) <= lines.KEPT_MAX + 1


def test_of_ten_receivers_one_is_silent_and_the_others_messages_arrive(tmp_path: Path) -> None:
    """Real webhooks: 80 messages to the silent one stand before five for each of the others, which have 6 seconds."""
    taken: list[str] = []
    names = [f"n{number}" for number in range(9)]

    async def take(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "silent":
            await asyncio.sleep(3600)
        taken.append(name)
        return web.Response()

    async def work() -> list[ConnectorCompleted]:
        app = web.Application()
        app.router.add_post("/in/{name}", take)
        server = TestServer(app)
        await server.start_server()
        (tmp_path / "s").write_text(SECRET)
        endpoints = {
            name: EndpointSettings(
                tenant="demo", secret=f"file:{tmp_path / 's'}", url=str(server.make_url(f"/in/{name}"))
            )
            for name in ("silent", *names)
        }
        made = installed.systems()["webhook"]
        system = made.model_copy(update={"limits": Limits(calls_max=8, rate_per_s=500, call_s_max=1.0)})
        webhook = Webhook(
            Setup(system=system, settings=Settings(connectors=ConnectorsSettings(endpoints=endpoints)), options={})
        )
        opened = Opened(lambda: webhook)
        log = Log()
        calls = Calling(
            system,
            lambda: Webhook.operations,
            opened,
            Gate(system, lambda _change, _word: None),
            intents=log,
            intend=log.intend,
            guard=cast(Guard, Free()),
        )
        silent = [asyncio.create_task(_answered(calls, system, "silent", number, 5.0)) for number in range(80)]
        await asyncio.sleep(0.05)
        asked = [_answered(calls, system, name, number, 6.0) for name in names for number in range(5)]
        answers = await asyncio.gather(*asked)
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
        await opened.close()
        await server.close()
        return list(answers)

    answers = asyncio.run(work())
    assert {answer.status for answer in answers} == {"ok"}
    assert set(taken) == set(names)  # at least once: one whose answer came late may have come twice


async def _answered(
    calls: Calling, system: System, endpoint: str, number: int, deadline_s: float, *, tenant: str = "demo"
) -> ConnectorCompleted:
    now_ms = wall_ms()
    asked = requested(
        {"endpoint": endpoint, "kind": "case.decided", "body": {"number": number}},
        at=now_ms,
        name=f"{endpoint}-{number}",
        system=system.system,
        operation="send",
        deadline_s=deadline_s,
        tenant=tenant,
    )
    return await calls.answer(
        Record("connector.webhook.requested.v1", 0, number, now_ms, b"c", b""), asked, lambda: True
    )


def test_another_tenants_name_for_an_endpoint_changes_nothing_of_its_owners() -> None:
    """It is refused before anybody is called: the owner's circuit stays open, and nobody stands in its line."""

    async def work() -> tuple[ConnectorCompleted, bool, set[str]]:
        system = installed.systems()["webhook"]
        endpoints = {"shop": EndpointSettings(tenant="demo", secret="env:NONE", url="http://127.0.0.1:9/")}
        webhook = Webhook(
            Setup(system=system, settings=Settings(connectors=ConnectorsSettings(endpoints=endpoints)), options={})
        )
        opened, log = Opened(lambda: webhook), Log()
        door = Gate(system, lambda _change, _word: None)
        calls = Calling(
            system,
            lambda: Webhook.operations,
            opened,
            door,
            intents=log,
            intend=log.intend,
            guard=cast(Guard, Free()),
        )
        owners = lines.party(installed.systems()["webhook"], Message(endpoint="shop", kind="k", body={}), "demo")
        line = door._lines.of(owners)
        assert line.circuit is not None
        line.circuit.reopen(0.0)  # its next call is a probe, which an answer would close
        answer = await _answered(calls, system, "shop", 1, 5.0, tenant="other")
        also = door._lines.of(
            lines.party(installed.systems()["webhook"], Message(endpoint="shop", kind="k", body={}), "other")
        )
        assert also.circuit is not None
        also.circuit.reopen(0.0)
        await _answered(calls, system, "shop", 2, 5.0, tenant="other")
        away = {one.party.name for one in door._lines if one.is_away}
        await opened.close()
        return answer, door.is_away(owners), away

    answer, is_away, away = asyncio.run(work())
    assert (answer.status, answer.reason.partition(":")[0]) == ("failed", "no_endpoint")
    assert is_away
    assert away == {"demo/shop", "other/shop"}  # a refusal of ours is no answer of theirs


@pytest.mark.parametrize("deadline_s", [1.0, 20.0])
def test_a_try_that_had_too_little_time_says_nothing_of_the_endpoint(tmp_path: Path, deadline_s: float) -> None:
    """It answers in what the system's file grants; only whoever waits that long may say that it is away."""

    async def work() -> bool:
        (tmp_path / "s").write_text(SECRET)
        made = installed.systems()["webhook"]
        system = made.model_copy(update={"limits": Limits(calls_max=8, rate_per_s=500, call_s_max=10.0)})
        log = Log()
        door = Gate(system, lambda _change, _word: None, clock=virtual_time.now)

        class Silent(Webhook):
            async def open(self) -> None:
                pass

            async def call(self, operation: str, request: Message, ask: Ask) -> Taken:
                try:
                    async with asyncio.timeout(ask.deadline_s * 0.9):
                        await asyncio.sleep(3600)
                except TimeoutError as error:
                    raise _unheard(error) from error
                raise AssertionError("unreachable")

        silent = Silent(Setup(system=system, settings=Settings(), options={}))
        opened = Opened(lambda: silent)
        calls = Calling(
            system,
            lambda: Webhook.operations,
            opened,
            door,
            intents=log,
            intend=log.intend,
            guard=cast(Guard, Free()),
            clock=virtual_time.now,
        )
        await asyncio.gather(*(_answered(calls, system, "shop", one, deadline_s) for one in range(8)))
        is_away = door.is_away(Party("demo/shop", is_endpoint=True))
        await opened.close()
        return is_away

    assert virtual_time.run(work()) is (deadline_s > 10.0)


def test_what_goes_aside_waits_in_a_retry_tier_and_no_try_is_counted() -> None:
    """Its place in the topic is finished, once the tier has it, so that what stands behind it is taken."""
    stage = next(each for each in CONNECTORS if each.name == "connectors.webhook")
    codec = Codec(FakeRegistry())
    asked = requested({}, at=wall_ms(), system="webhook", operation="send", deadline_s=60.0)
    record = Record(stage.reads[0].name, 3, 7, wall_ms(), b"c", codec.encode(stage.reads[0], asked), ())
    happened: list[object] = []

    class Around:
        try_ms = 1_000

        def finish(self, done: Record, cost: int | None = None) -> None:
            happened.append(("finished", done.offset))

        def release(self, back: Record) -> None:
            happened.append("released")

        def owns(self, _record: Record) -> bool:
            return True

        def pause(self, topic: str, partition: int, for_ms: int) -> None:
            happened.append("paused")

        async def deliver_all(self, outs: Sequence[Outgoing]) -> Sequence[Place]:
            happened.extend(outs)
            return [Place(out.topic, 0, 0, 0) for out in outs]

        async def answer(self, _record: Record, _command: object, _wanted: object, *, aside_ms: int | None) -> None:
            assert aside_ms == stage.tiers[0].after_ms
            raise Aside

    around = Around()
    commands = Commands(
        stage,
        cast(Calling, around),
        codec,
        intake=around,
        delivery=around,
        settler=Settler(stage, "c1", breakers=OwnBreakers()),
        decoding=cast(Guard, Free()),
        stopping=lambda: False,
    )
    asyncio.run(commands.work(record))
    tier, finished = happened
    assert isinstance(tier, Outgoing)
    assert tier.topic == stage.tiers[0].topic.name
    back = Record(stage.retries.name, 3, 0, wall_ms(), tier.key, tier.value, tier.headers)
    assert (envelope.attempt_of(back), envelope.deferrals_of(back), tier.value) == (1, 1, record.value)
    assert finished == ("finished", 7)


def test_behind_a_full_line_of_an_endpoint_that_is_away_a_real_command_is_put_off() -> None:
    """From the record to the retry tier, with nothing but Kafka replaced; the same without time for that waits."""
    stage = next(each for each in CONNECTORS if each.name == "connectors.webhook")
    system, codec = installed.systems()["webhook"], Codec(FakeRegistry())
    try_s, least_s = system.limits.call_s_max, stage.tiers[0].after_ms / 1000

    async def work(left_s: float) -> list[str]:
        outs: list[str] = []

        class Around:
            def finish(self, done: Record, cost: int | None = None) -> None:
                outs.append("finished")

            def release(self, back: Record) -> None:
                outs.append("released")

            def owns(self, _record: Record) -> bool:
                return True

            def pause(self, topic: str, partition: int, for_ms: int) -> None:
                outs.append("paused")

            async def deliver_all(self, given: Sequence[Outgoing]) -> Sequence[Place]:
                outs.extend(out.topic for out in given)
                return [Place(out.topic, 0, 0, 0) for out in given]

        around, log, door = Around(), Log(), Gate(system, lambda _change, _word: None)
        webhook = Webhook(Setup(system=system, settings=Settings(), options={}))
        calls = Calling(
            system,
            lambda: Webhook.operations,
            Opened(lambda: webhook),
            door,
            intents=log,
            intend=log.intend,
            guard=cast(Guard, Free()),
        )
        commands = Commands(
            stage,
            calls,
            codec,
            intake=around,
            delivery=around,
            settler=Settler(stage, "c1", breakers=OwnBreakers()),
            decoding=cast(Guard, Free()),
            stopping=lambda: False,
        )
        party = lines.party(installed.systems()["webhook"], Message(endpoint="shop", kind="k", body={}), "demo")
        for _ in range(system.circuit.failures_max):
            permit = await door.enter(asyncio.get_running_loop().time() + 60, lambda: True, party)
            assert permit is not None
            door.fail_endpoint(permit, "http_500")
        soon = time.monotonic() + 5
        others = [asyncio.create_task(door.enter(soon, lambda: True, party)) for _ in range(IN_LINE_MAX)]
        await asyncio.sleep(0)
        request = {"endpoint": "shop", "kind": "k", "body": {}}
        asked = requested(request, at=wall_ms(), system="webhook", operation="send", deadline_s=left_s)
        record = Record(stage.reads[0].name, 3, 7, wall_ms(), b"c", codec.encode(stage.reads[0], asked), ())
        running = asyncio.create_task(commands.work(record))
        while door.waiting < IN_LINE_MAX + 1 and not running.done():  # noqa: ASYNC110 - it polls, in no time
            await asyncio.sleep(0)
        for task in (running, *others):
            task.cancel()
        await asyncio.gather(running, *others, return_exceptions=True)
        return outs

    assert asyncio.run(work(try_s + least_s + 30)) == [stage.tiers[0].topic.name, "finished"]
    assert asyncio.run(work(try_s + least_s - 1)) == []
