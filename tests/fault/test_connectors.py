"""Connectors on a real broker against a real outside system that flaps, their process killed at each boundary."""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from aios.dlq import breakers
from aios.dlq.deaths import ALONE_MAX
from aios.infra.local import ports
from aios.infra.prove.proxy import FAIR, Proxy, Weather
from aios.processors.connectors import serving
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged, ConnectorCompleted, ConnectorRequested
from aios.streams import waiting
from aios.streams.config import KafkaSettings, Settings
from aios.streams.kafka import Delivery, read_all
from aios.streams.system_files import Effect
from aios.streams.topics import BREAKER_CHANGED, CONNECTOR_COMPLETED
from aios.streams.waiting import CIRCUITS
from aios.streams.wall_clock import wall_ms
from tests.broker.running import running
from tests.fakes.calls import requested
from tests.fakes.outside import Answers, Outside
from tests.fault import connector_worker
from tests.fault.connector_worker import WAIT_S_MAX, create, served, settings_of, stage_of, system, wait_for

pytestmark = pytest.mark.broker
STOPPED_S = 12.0  # past a session of 10 s
BOUNDARIES = ("taken", "intended", "computed", "produced", "delivered", "committed")


@dataclass
class World:
    """An outside system, its topics, and what stands in them."""

    kafka: KafkaSettings
    codec: Codec
    unique: str
    bank: Outside
    settings: Settings

    def command(self, name: str, effect: Effect) -> ConnectorRequested:
        reads = effect is Effect.NONE
        return requested(
            {"currency": "EUR"} if reads else {"account": name, "amount": 5},
            at=wall_ms(),
            name=f"{self.unique}-{name}",
            system=system(self.unique).system,
            operation="look" if reads else "book",
            effect=effect,
        )

    async def put(self, *asked: ConnectorRequested) -> None:
        await connector_worker.put(self.kafka, self.codec, stage_of(self.unique), asked)

    def serving(self, settings: Settings | None = None) -> AbstractAsyncContextManager[None]:
        return running(functools.partial(serving.run, systems=served(self.unique)), settings or self.settings)

    async def until_answered(self, count: int) -> None:
        await asyncio.to_thread(wait_for, lambda: len(self.answered()) >= count)

    def answered(self) -> list[ConnectorCompleted]:
        read = read_all(self.kafka, CONNECTOR_COMPLETED.name)
        answers = (self.codec.decode(record.value, ConnectorCompleted) for record in read)
        return [answer for answer in answers if answer.request_id.startswith(f"{self.unique}-")]

    def changes(self) -> list[BreakerChanged]:
        key = f"{CIRCUITS}{system(self.unique).system}"
        told = (self.codec.decode(each.value, BreakerChanged) for each in read_all(self.kafka, BREAKER_CHANGED.name))
        return [each for each in told if each.key == key]

    def letters(self) -> int:
        return len(list(read_all(self.kafka, stage_of(self.unique).dead_letters.name)))


@pytest.fixture
def world(kafka: KafkaSettings, registry_url: str, codec: Codec, tmp_path: Path, unique: str) -> Iterator[World]:
    create(kafka, registry_url, stage_of(unique))
    with Outside(tmp_path / "ledger") as bank:
        yield World(kafka, codec, unique, bank, settings_of(kafka, registry_url, tmp_path, unique, bank.url))


PATTERNS: dict[str, Answers] = {
    "500 in every third": lambda number, _method: 500 if number % 3 == 1 else 200,
    "resets, some after it was done": lambda number, _method: ("reset", "lost", 200, 200)[number % 4],
    "away for a while, then 503": lambda number, _method: "reset" if number < 12 else 503 if number < 20 else 200,
    "silent, then well": lambda number, _method: "hang" if number < 3 else 200,
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_system_that_flaps_bothers_nobody(pattern: str, world: World) -> None:
    """40 commands, half of them with an effect: each is answered ok, done once, without a dead letter or a retry."""
    world.bank.answers = PATTERNS[pattern]
    asked = [world.command(f"n{one}", Effect.NONE if one % 2 else Effect.RECONCILED) for one in range(40)]

    async def work() -> None:
        await world.put(*asked)
        async with world.serving():
            await world.until_answered(len(asked))

    asyncio.run(work())
    answers = world.answered()
    assert sorted((each.request_id, each.status) for each in answers) == sorted(
        (each.request_id, "ok") for each in asked
    )
    booked = [each["key"] for each in world.bank.booked()]
    assert sorted(booked) == sorted(one.idempotency_key for one in asked if one.effect == Effect.RECONCILED)
    assert world.letters() == 0
    assert len(world.bank.asked) > len(asked)


def test_an_open_circuit_is_told_and_closes_by_itself(world: World) -> None:
    """Through a proxy that lets nobody in, then drops answers, then is fair: open, half-open, closed; none failed."""
    (port,) = ports.free_ports(1)
    proxy = Proxy({port: world.bank.port})
    proxy.start()
    kept = world.settings
    through = settings_of(world.kafka, kept.registry.url, kept.home, world.unique, f"http://127.0.0.1:{port}")
    asked = [world.command(f"n{one}", Effect.NONE) for one in range(20)]

    def states() -> list[str]:
        return [each.state for each in world.changes()]

    async def work() -> None:
        proxy.set(Weather(is_cut=True))
        await world.put(*asked)
        async with world.serving(through):
            await asyncio.to_thread(wait_for, lambda: states().count("open") >= 2)
            proxy.set(Weather(drop_answered=True))
            count = len(states())
            await asyncio.to_thread(wait_for, lambda: len(states()) > count + 1)
            assert not world.answered()
            proxy.set(FAIR)
            await world.until_answered(len(asked))
            await asyncio.to_thread(wait_for, lambda: states()[-1] == "closed")

    try:
        asyncio.run(work())
    finally:
        proxy.close()
    assert {answer.status for answer in world.answered()} == {"ok"}
    told = world.changes()
    assert len({each.since for each in told[:-1]}) == 1
    assert told[-1].since == 0
    assert {each.state for each in told} == {"half_open", "open", "closed"}
    assert world.letters() == 0


@pytest.mark.parametrize("effect", [Effect.RECONCILED, Effect.AT_MOST_ONCE, Effect.AT_LEAST_ONCE], ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_killed_at_each_boundary_the_effect_is_as_it_was_asked(boundary: str, effect: Effect, world: World) -> None:
    """kill -9, counted at the outside system: reconciled once; at most once never twice; at least once always."""
    asked = world.command("one", effect)
    asyncio.run(world.put(asked))
    armed = connector_worker.start(world.settings, world.unique, armed=f"connectors.{boundary}=kill@1")
    assert armed.wait(WAIT_S_MAX) == -signal.SIGKILL
    log = world.settings.home / "0.log"
    log.unlink()  # of the one that died
    after = connector_worker.start(world.settings, world.unique)
    try:
        wait_for(lambda: "READY" in log.read_text() and len(world.answered()) >= 1)
    finally:
        after.send_signal(signal.SIGTERM)
        assert after.wait(WAIT_S_MAX) == 0
    statuses = {answer.status for answer in world.answered()}
    booked = len(world.bank.booked(asked.idempotency_key))
    match effect:
        case Effect.RECONCILED:
            assert (statuses, booked) == ({"ok"}, 1)
        case Effect.AT_MOST_ONCE:
            assert statuses <= {"ok", "unknown"}
            assert booked <= 1
            assert booked == 1 or statuses == {"unknown"}
        case _:
            assert statuses == {"ok"}
            assert booked >= 1
    assert world.letters() == 0


def test_a_command_that_comes_a_second_time_is_not_done_again(world: World) -> None:
    """A repeat of plan's, or a replay by an operator: the second finds the intent of the first."""
    asked = world.command("one", Effect.AT_MOST_ONCE)

    async def work() -> None:
        for count in (1, 2):
            await world.put(asked)
            async with world.serving():
                await world.until_answered(count)

    asyncio.run(work())
    first, second = world.answered()
    assert (first.status, second.status) == ("ok", "unknown")
    assert len(world.bank.booked()) == 1


def test_through_kills_stops_and_moving_partitions_each_effect_happens_once(world: World) -> None:
    """Three processes of which one is always dying or stopped past its session, a bank that resets one call in five.

    Every command is answered ok in the end, however often; at the bank each stands once.
    """
    chance = Random(11)
    world.bank.answers = lambda number, _method: ("reset", 200, "lost", 200, 200)[number % 5]
    asked = [world.command(f"n{one}", Effect.RECONCILED) for one in range(40)]
    processes = {slot: connector_worker.start(world.settings, world.unique, slot=slot) for slot in range(3)}
    try:
        for part in range(4):
            asyncio.run(world.put(*asked[part * 10 : part * 10 + 10]))
            slot = chance.randrange(3)
            if part == 2:
                processes[slot].send_signal(signal.SIGSTOP)
                time.sleep(STOPPED_S)
                processes[slot].send_signal(signal.SIGCONT)
            else:
                processes[slot].kill()
                processes[slot].wait()
                processes[slot] = connector_worker.start(world.settings, world.unique, slot=slot)
            for number, process in processes.items():
                if process.poll() is not None:  # a stopped one that was fenced, as its supervisor would
                    processes[number] = connector_worker.start(world.settings, world.unique, slot=number)
        wait_for(lambda: {each.request_id for each in world.answered()} >= {each.request_id for each in asked}, 120.0)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    assert {answer.status for answer in world.answered()} == {"ok"}
    assert Counter(each["key"] for each in world.bank.booked()) == Counter(each.idempotency_key for each in asked)
    assert world.letters() == 0


def test_a_command_that_ends_its_process_is_given_up_and_the_others_are_answered(world: World) -> None:
    """It dies in company, then alone, twice; then it is a dead letter, undecoded, and nothing else is."""
    asked = [world.command(name, Effect.NONE) for name in ("a", "b", "c")]
    poison = replace(world.command("poison", Effect.NONE), request=json.dumps({"currency": "POISON"}))
    asyncio.run(world.put(asked[0], poison, *asked[1:]))
    deaths = 0
    while not _lives(world, len(asked)):
        deaths += 1
        assert deaths <= 1 + ALONE_MAX, "it is never given up"
    assert {each.request_id for each in world.answered()} == {each.request_id for each in asked}
    assert world.letters() == 1


def _lives(world: World, count: int) -> bool:
    """A process that dies of the poison, or answers the others and gives it up: whether it lived."""
    worker = connector_worker.start(world.settings, world.unique, armed="connectors.decode=segv:POISON")
    try:
        wait_for(lambda: worker.poll() is not None or (world.letters() > 0 and len(world.answered()) >= count))
        return worker.poll() is None
    finally:
        worker.kill()
        worker.wait()


def test_a_case_shows_what_it_waits_for_and_a_person_may_have_it_tried_at_once(world: World) -> None:
    """A system that nobody answers for: told with since; closed by an operator, it is believed until it fails again."""
    kept = world.settings
    nowhere = settings_of(world.kafka, kept.registry.url, kept.home, world.unique, "http://127.0.0.1:9")
    asked = [world.command(f"n{one}", Effect.NONE) for one in range(8)]
    name = system(world.unique).system
    timeline = [{"transition": "call_requested", "step": "book", "detail": {"system": name}}]

    def opened_anew() -> bool:
        """Without a probe that would have closed it: nobody answers."""
        return any(each.state == "open" and each.since > world.changes()[0].since for each in world.changes())

    async def work() -> None:
        await world.put(*asked)
        async with world.serving(nowhere):
            await asyncio.to_thread(wait_for, lambda: any(each.state == "open" for each in world.changes()))
            await asyncio.to_thread(_shown)
            closed = breakers.closed(world.changes()[-1], by="olga", now_ms=wall_ms())
            delivery = Delivery(world.kafka, client_id="test", deliver_s_max=30)
            await delivery.deliver(breakers.outgoing(world.codec, closed))
            await asyncio.to_thread(delivery.close)
            await asyncio.to_thread(wait_for, opened_anew)

    def _shown() -> None:
        table = waiting.circuits(world.kafka, world.codec)
        table.load()
        (found,) = waiting.waits_for(timeline, table.all().values())
        table.close()
        assert found == {"system": name, "since": world.changes()[0].since}

    asyncio.run(work())
    assert [each.by for each in world.changes() if each.state == "closed"] == ["olga"]
    assert world.answered() == []
