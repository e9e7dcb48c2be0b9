"""The door to a system: who passes, when, and that every permit comes back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq.deaths import Deaths
from aios.dlq.in_hand import InHand, Quiet
from aios.processors.connectors.circuit import Change, State
from aios.processors.connectors.connector import Connector
from aios.processors.connectors.gate import Gate, Permit, calls_at_once
from aios.processors.connectors.guard import Guard
from aios.processors.connectors.opened import Opened, Unopened
from aios.streams.record import Record
from aios.streams.system_files import Circuit, Goal, Limits, System
from tests.fakes import virtual_time

SYSTEM = System(
    system="bank",
    does="books",
    connector="bank",
    limits=Limits(calls_max=3, rate_per_s=20, call_s_max=1.0),
    circuit=Circuit(failures_max=3, open_s=1.0, open_s_max=4.0),
    objective=Goal(p95_ms=1000),
)


@dataclass
class Watched:
    """A gate, and what was seen of it."""

    share: float = 1.0
    states: list[State] = field(default_factory=lambda: [State.CLOSED])
    calls: int = 0
    most: int = 0
    begun: list[float] = field(default_factory=list)
    while_open: int = 0

    def __post_init__(self) -> None:
        self.gate = Gate(SYSTEM, self._changed, share=lambda: self.share, clock=virtual_time.now)

    def _changed(self, change: Change, _word: str) -> None:
        self.states.append(change.state)

    async def call(self, chance: Random, fails: float, deadline_s: float = 600.0) -> bool:
        permit = await self.gate.enter(virtual_time.now() + deadline_s, lambda: True)
        if permit is None:
            return False
        self.calls += 1
        self.most = max(self.most, self.calls)
        self.begun.append(virtual_time.now())
        self.while_open += self.gate.circuit.state is State.OPEN
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        self.calls -= 1
        if chance.random() < fails:
            self.gate.fail(permit, "no_answer")
        elif chance.random() < 0.1:
            self.gate.abandon(permit)
        else:
            self.gate.succeed(permit)
        self.gate.abandon(permit)  # given back already: changes nothing
        return True


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    fails=st.sampled_from([0.0, 0.2, 0.6, 0.95]),
    share=st.sampled_from([1.0, 0.5]),
    cancelled=st.integers(0, 5),
)
def test_bulkhead_rate_and_circuit_hold_and_everybody_passes_in_the_end(
    seed: int, fails: float, share: float, cancelled: int
) -> None:
    async def work() -> Watched:
        chance, watched = Random(seed), Watched(share=share)
        tasks = [asyncio.create_task(watched.call(chance, fails)) for _ in range(60)]
        await asyncio.sleep(0.2)
        for task in tasks[-cancelled:] if cancelled else ():
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        passed = sum(end is True for end in ends)
        assert passed + sum(isinstance(end, asyncio.CancelledError) for end in ends) == len(tasks)
        assert watched.gate.waiting == 0
        if not cancelled:
            assert watched.gate.calls == 0
        return watched

    watched = virtual_time.run(work())
    assert watched.most <= SYSTEM.limits.calls_max * share
    assert watched.while_open == 0
    rate = SYSTEM.limits.rate_per_s * share
    for first in range(len(watched.begun)):
        for last in range(first, len(watched.begun)):
            assert last - first + 1 <= 2.0 + 1 + (watched.begun[last] - watched.begun[first]) * rate


@given(st.integers(1, 64), st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any))
def test_processes_together_call_no_more_than_their_system_allows(calls_max: int, partitions: list[int]) -> None:
    """However its partitions are shared out; each that has one may call, also where there are more than calls."""
    owners = [own for own in partitions if own]
    calls = [calls_at_once(calls_max, own / sum(owners)) for own in owners]
    assert min(calls) >= 1
    too_small = sum(own * calls_max < sum(owners) for own in owners)  # for one call: none where calls_max is enough
    assert sum(calls) <= calls_max + too_small
    assert calls_at_once(calls_max, 1.0) == calls_max


def test_the_earliest_deadline_passes_first() -> None:
    async def work() -> list[str]:
        watched, order = Watched(), []

        async def one(name: str, deadline_s: float) -> None:
            permit = await watched.gate.enter(virtual_time.now() + deadline_s, lambda: True)
            assert permit is not None
            order.append(name)
            await asyncio.sleep(0.2)
            watched.gate.succeed(permit)

        blocking = [asyncio.create_task(one("blocks", 900)) for _ in range(3)]
        await asyncio.sleep(0.1)
        late = [asyncio.create_task(one("bulk", 800)) for _ in range(3)]
        soon = [asyncio.create_task(one("somebody waits", 60)) for _ in range(3)]
        await asyncio.gather(*blocking, *late, *soon)
        return order[3:]

    assert virtual_time.run(work()) == ["somebody waits"] * 3 + ["bulk"] * 3


def test_whoever_does_not_want_any_more_and_whoever_is_late_is_sent_away() -> None:
    async def work() -> tuple[list[Permit | None], float]:
        watched, wants = Watched(), [True]
        held = [await watched.gate.enter(virtual_time.now() + 9, lambda: True) for _ in range(2)]
        await asyncio.sleep(0.2)
        held.append(await watched.gate.enter(virtual_time.now() + 9, lambda: True))
        begun = virtual_time.now()
        late = asyncio.create_task(watched.gate.enter(begun + 5.0, lambda: True))
        gone = asyncio.create_task(watched.gate.enter(begun + 500.0, lambda: wants[0]))
        left = asyncio.create_task(watched.gate.enter(begun + 500.0, lambda: True))
        first = await late
        took = virtual_time.now() - begun
        wants[0] = False
        watched.gate.sweep()
        second = await gone
        watched.gate.leave()
        return [first, second, await left], took

    ends, took = virtual_time.run(work())
    assert ends == [None, None, None]
    assert took == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize("says", ["a probe", "a person"])
def test_a_system_that_asked_to_be_left_alone_and_is_there_again_is_called_at_once(says: str) -> None:
    """Retry-After of minutes, and the circuit opened: what shows that it is there again ends the wait, too."""

    async def work() -> tuple[State, float]:
        gate = Watched().gate
        soon = virtual_time.now() + 5.0
        for permit in [await gate.enter(soon, lambda: True) for _ in range(3)]:
            assert permit is not None
            gate.fail(permit, "http_503", 300.0)
        if says == "a person":
            gate.close_circuit()
        else:
            probe = await gate.enter(soon, lambda: True)
            assert probe is not None
            assert probe.probe is not None
            gate.succeed(probe)
        begun = virtual_time.now()
        assert await gate.enter(begun + 60.0, lambda: True) is not None
        return gate.circuit.state, virtual_time.now() - begun

    state, waited = virtual_time.run(work())
    assert state is State.CLOSED
    assert waited < 1.0


class Suspicions:
    """A count of deaths that suspects one offset."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def suspicious(self, _topic: str, _partition: int, offsets: list[int]) -> dict[int, int]:
        return {offset: 1 for offset in offsets if offset == self._offset}

    def begin(self, *_place: object, **_below: object) -> None: ...
    def end(self, *_place: object, **_below: object) -> None: ...


def test_who_ended_processes_alone_is_worked_on_with_nothing_else() -> None:
    """Over two kinds of work that share a process; who waits for it may be cancelled, and holds nobody up."""

    async def work() -> list[str]:
        quiet, order = Quiet(), []
        calm, suspected = (Guard(InHand(cast(Deaths, Suspicions(offset)), quiet), quiet) for offset in (-1, 1))

        async def one(guard: Guard, offset: int, name: str) -> None:
            async with guard.of(Record("t", 0, offset, 0, b"", b"")):
                order.append(f"+{name}")
                await asyncio.sleep(0.1)
                order.append(f"-{name}")

        tasks = [asyncio.create_task(one(calm, 7, "a"))]
        await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(one(suspected, 1, "suspect")))
        await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(one(calm, 8, "b")))
        cancelled = asyncio.create_task(one(calm, 9, "never"))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        await asyncio.gather(*tasks)
        await asyncio.create_task(one(calm, 10, "c"))
        return order

    assert virtual_time.run(work()) == ["+a", "-a", "+suspect", "-suspect", "+b", "-b", "+c", "-c"]


def test_opening_goes_on_by_itself_and_is_begun_anew_only_when_it_failed() -> None:
    class Slow:
        opens = 0
        closes = 0

        async def open(self) -> None:
            Slow.opens += 1
            await asyncio.sleep(0.05)
            if Slow.opens == 1:
                raise OSError

        async def close(self) -> None:
            Slow.closes += 1

    async def work() -> None:
        opened = Opened(lambda: cast(Connector, Slow()))
        assert await opened.get(0.0) is None
        with pytest.raises(Unopened):
            await opened.get(5.0)
        waits = await asyncio.gather(*(opened.get(5.0) for _ in range(3)))
        assert len(set(map(id, waits))) == 1
        await opened.close()

    asyncio.run(work())
    assert (Slow.opens, Slow.closes) == (2, 2)
