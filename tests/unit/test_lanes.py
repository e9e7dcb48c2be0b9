"""What a lane holds of its partition is bounded, whatever its records are made of."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP
from prometheus_client import Gauge

from aios.processors.stateful import lanes as lanes_module
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.lanes import BACKOFF_S_MAX, BACKOFF_S_MIN, HELD_BYTES_MAX, HELD_RECORDS_MAX, Lane, Lanes
from aios.processors.stateful.member import Member
from aios.processors.stateful.store import Paused
from aios.streams import metrics
from aios.streams.errors import Unavailable
from aios.streams.log_clock import passed_s
from aios.streams.record import Record


def records(count: int, **fields: Any) -> list[Record]:
    return [Record("t", 0, offset, 1, **{"key": None, "value": None} | fields) for offset in range(count)]


@pytest.mark.parametrize(
    ("held", "full"),
    [
        (records(10, value=b"v"), False),
        (records(HELD_RECORDS_MAX), True),
        (records(2, value=b"v" * (HELD_BYTES_MAX // 2)), True),
        (records(2, key=b"k" * (HELD_BYTES_MAX // 2)), True),
        (records(2, headers=(("h", b"v" * (HELD_BYTES_MAX // 2)),)), True),
        (records(1, headers=(("h", b""),) * (HELD_BYTES_MAX // 100)), True),
    ],
    ids=["little", "many", "values", "keys", "headers", "small headers"],
)
def test_a_full_lane_is_not_read_for(held: list[Record], full: bool) -> None:
    """By number, and by the bytes of values, keys and headers."""

    async def check() -> None:
        with ThreadPoolExecutor(1) as pool:
            lane = Lane(cast(Any, None), "t", 0, pool, lambda: None)
            lane.give(Batch("t", 0, 0, held, len(held)))
            assert lane.full is full

    asyncio.run(check())


class Opening:
    """A store whose first transaction takes as long as the test says."""

    def __init__(self) -> None:
        self.committed = threading.Event()
        self.position = {"t": 0}
        self.restored = 0

    def open(self) -> None:
        assert self.committed.wait(30)

    def close(self) -> None: ...
    def due_in_ms(self) -> int | None:
        return None

    work_in_ms = due_in_ms


def test_a_position_is_told_once_the_changelog_has_it() -> None:
    """Else the group's offset stands alone after a death in between, which says that a changelog was lost."""

    async def check() -> None:
        store = Opening()
        lanes = Lanes("t", lambda _: cast(Any, store), lambda error: pytest.fail(str(error)))
        (lane,) = lanes.assigned([0])
        await asyncio.sleep(0)
        assert lanes.position("t", 0) is None
        store.committed.set()
        await lane.opened.wait()
        assert lanes.position("t", 0) == 0
        await lanes.stop()

    asyncio.run(check())


class Slow(Opening):
    """A store that applies when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.committed.set()
        self.let = threading.Event()
        self.began = threading.Event()
        self.applied: list[int] = []  # batches of a call

    def apply(self, batches: list[Batch]) -> None:
        self.applied.append(len(batches))
        self.began.set()
        assert self.let.wait(30)


@pytest.mark.parametrize("revoked", [False, True], ids=["applied", "revoked"])
def test_what_is_in_flight_falls_when_it_is_done(revoked: bool) -> None:
    """Not with the next batch alone: an idle stage has nothing in hand, nor has one whose partition has left."""

    async def check() -> None:
        store = Slow()
        stage = f"idle.{revoked}"
        lanes = Lanes(stage, lambda _: cast(Any, store), lambda error: pytest.fail(str(error)))
        (lane,) = lanes.assigned([0])
        await lane.opened.wait()
        told = metrics.IN_FLIGHT.labels(stage)
        if revoked:
            lane.end()
        lanes.give(Batch("t", 0, 0, records(10), 10))
        assert told._value.get() == 10
        store.let.set()
        async with asyncio.timeout(30):
            await (lanes.revoked([0]) if revoked else lanes.room.wait())
        assert told._value.get() == 0
        await lanes.stop()

    asyncio.run(check())


def test_a_partition_that_leaves_ends_what_runs_and_begins_nothing_else() -> None:
    """Whoever asks for it is answered when that is done; what is held beside it is its next owner's."""

    async def check() -> None:
        store = Slow()
        lanes = Lanes("t", lambda _: cast(Any, store), lambda error: pytest.fail(str(error)))
        (lane,) = lanes.assigned([0])
        await lane.opened.wait()
        lanes.give(Batch("t", 0, 0, records(10), 10))
        async with asyncio.timeout(30):
            await asyncio.to_thread(store.began.wait)
            lanes.give(Batch("t", 0, 10, records(10), 20))
            leaving = asyncio.create_task(lanes.revoked([0]))
            await asyncio.wait([leaving], timeout=0.05)
            assert not leaving.done()
            store.let.set()
            await leaving
        assert store.applied == [1]
        assert lanes.held(0) == 0
        await lanes.stop()

    asyncio.run(check())


class Away(Opening):
    """A store that can do nothing: what everyone needs is away. tried: when, monotonic seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.committed.set()
        self.tried: list[float] = []
        self.often = threading.Event()

    def apply(self, batches: list[Batch]) -> None:
        self.tried.append(time.monotonic())
        if len(self.tried) == 5:
            self.often.set()
        raise Paused("the registry is away")


def test_a_lane_that_pauses_says_so_tries_again_and_leaves_when_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At longer and longer intervals; its records stay where they are."""
    monkeypatch.setattr(lanes_module, "BACKOFF_S_MIN", 0.02)
    monkeypatch.setattr(lanes_module, "BACKOFF_S_MAX", 0.08)

    async def check() -> None:
        store, stage = Away(), "away.lanes"
        lanes = Lanes(stage, lambda _: cast(Any, store), lambda error: pytest.fail(str(error)))
        (lane,) = lanes.assigned([0])
        await lane.opened.wait()
        paused = metrics.PAUSED.labels(stage, "", "0")
        assert paused._value.get() == 0
        lanes.give(Batch("t", 0, 0, records(10), 10))
        async with asyncio.timeout(30):
            await asyncio.to_thread(store.often.wait)
            assert paused._value.get() == 1
            assert lanes.held(0) == 10
            await lanes.revoked([0])
        waits = [later - one for one, later in itertools.pairwise(store.tried)]
        assert all(wait >= least for wait, least in zip(waits, (0.02, 0.04, 0.08, 0.08), strict=False))
        await lanes.stop()

    asyncio.run(check())


def test_what_must_end_the_process_is_told() -> None:
    """Whatever the store raises: nothing else would notice that the partition stands still."""

    class Broken(Opening):
        def apply(self, batches: list[Batch]) -> None:
            raise ZeroDivisionError

    async def check() -> None:
        store, told = Broken(), asyncio.Queue[BaseException]()
        store.committed.set()
        lanes = Lanes("t", lambda _: cast(Any, store), told.put_nowait)
        (lane,) = lanes.assigned([0])
        await lane.opened.wait()
        lanes.give(Batch("t", 0, 0, records(1), 1))
        async with asyncio.timeout(30):
            assert isinstance(await told.get(), ZeroDivisionError)
        await lanes.stop()

    asyncio.run(check())


def test_a_partition_that_comes_back_at_once_is_gone_on_with() -> None:
    """With the store that it had, so that only the tail is read; one that went elsewhere first is read anew."""

    async def check() -> None:
        made: list[int] = []

        def make(partition: int) -> Any:
            made.append(partition)
            store = Opening()
            store.committed.set()
            return store

        lanes = Lanes("t", make, lambda error: pytest.fail(str(error)))
        for partitions in ([0, 1], [1], [0, 1]):
            for lane in lanes.assigned(partitions):
                await lane.opened.wait()
            await lanes.revoked([0, 1])
        assert made == [0, 1, 0]
        await lanes.stop()

    asyncio.run(check())


def labelled(gauge: Gauge, stage: str) -> set[str]:
    """The partitions that it tells of."""
    (family,) = gauge.collect()
    return {one.labels["partition"] for one in family.samples if one.labels["stage"] == stage}


def test_a_partition_that_left_is_no_longer_measured() -> None:
    """Its new owner tells of it; an old value beside it would be added, or alert for ever."""

    async def check() -> None:
        stage = "left.lanes"
        lanes = Lanes(stage, lambda _: cast(Any, Slow()), lambda error: pytest.fail(str(error)))
        for lane in lanes.assigned([0, 1]):
            await lane.opened.wait()
        metrics.PARKED.labels(stage, "1").set(1)
        assert labelled(metrics.PAUSED, stage) == {"0", "1"}
        await lanes.revoked([1])
        assert labelled(metrics.PAUSED, stage) == {"0"}
        assert labelled(metrics.PARKED, stage) == set()
        await lanes.stop()

    asyncio.run(check())


def test_the_lag_of_a_partition_that_left_is_no_longer_told() -> None:
    """And told again when it comes back."""
    stage = "left.member"
    assigned = {TP("t", 0), TP("t", 1)}
    member = Member.__new__(Member)
    member._stage, member._lags = cast(Any, SimpleNamespace(name=stage)), frozenset()
    member._app = cast(Any, SimpleNamespace(consumer=SimpleNamespace(assignment=lambda: assigned, lag=lambda _: 7)))
    member._tell_lag()
    assert labelled(metrics.LAG, stage) == {"0", "1"}
    assigned.discard(TP("t", 1))
    member._tell_lag()
    assert labelled(metrics.LAG, stage) == {"0"}
    assigned.add(TP("t", 1))
    member._tell_lag()
    assert labelled(metrics.LAG, stage) == {"0", "1"}


class Working(Opening):
    """A store whose core wants to work by itself, and cannot: what it reads is away."""

    def __init__(self) -> None:
        super().__init__()
        self.committed.set()
        self.waits_s: list[float] = []
        self.failed = asyncio.Event()
        self.at_s = 0.0

    def work_in_ms(self) -> int | None:
        return max(0, math.ceil((self.at_s - time.monotonic()) * 1000))

    def work(self) -> None:
        raise Unavailable("one partition cannot be read")

    def work_later(self, wait_s: float) -> None:
        self.waits_s.append(wait_s)
        self.at_s = time.monotonic() + wait_s / 100
        self.failed.set()

    def apply(self, batches: list[Batch]) -> None: ...


def test_what_the_core_cannot_do_by_itself_holds_up_no_record() -> None:
    """It tries at longer and longer intervals, and takes what comes meanwhile."""

    async def check() -> None:
        store = Working()
        lanes = Lanes("t", lambda _: cast(Any, store), lambda error: pytest.fail(str(error)))
        lanes.assigned([0])
        async with asyncio.timeout(30):
            await store.failed.wait()
            lanes.give(Batch("t", 0, 0, records(1), 1))
            await lanes.room.wait()
            while len(store.waits_s) < 10:
                store.failed.clear()
                await store.failed.wait()
        await lanes.stop()
        assert store.waits_s[:3] == [BACKOFF_S_MIN, 2 * BACKOFF_S_MIN, 4 * BACKOFF_S_MIN]
        assert max(store.waits_s) == BACKOFF_S_MAX

    asyncio.run(check())


def test_a_timer_fires_when_the_machine_has_slept_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour that passed while it slept is an hour of the log, though the event loop has seen nothing of it."""
    monkeypatch.setattr(lanes_module, "TICK_S_MAX", 0.05)

    class Timed(Opening):
        def __init__(self) -> None:
            super().__init__()
            self.committed.set()
            self.slept, self.fired = False, threading.Event()

        def due_in_ms(self) -> int | None:
            return 0 if self.slept else 3_600_000

        def tick(self) -> None:
            self.fired.set()

    async def check() -> None:
        store = Timed()
        lanes = Lanes("t", lambda _: cast(Any, store), lambda error: pytest.fail(str(error)))
        (lane,) = lanes.assigned([0])
        await lane.opened.wait()
        await asyncio.sleep(0)
        store.slept = True
        assert await asyncio.to_thread(store.fired.wait, 5)
        await lanes.stop()

    asyncio.run(check())
    awake_s = time.monotonic()
    assert passed_s() >= awake_s
