"""What a stateless stage does where its partition does not go on where its group had read to; how long Kafka waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import REGISTRY

from aios.sinks.shell import gathers
from aios.streams import polling, topology
from aios.streams.config import GATHER_MS, KafkaSettings
from aios.streams.errors import StateBroken
from aios.streams.intake import Intake
from aios.streams.record import Record
from aios.streams.topology import Kind

TOPIC, GROUP = "t", "aios.some"
WAIT_S_MAX = 10.0


class Log:
    """One partition, and Kafka's client as its only reader: `earliest` where a position is below start or above end."""

    def __init__(self, offsets: range, *, start: int = 0, committed: int | None = None) -> None:
        self.offsets = set(offsets)
        self.start = start
        self.end = offsets.stop
        self.config: dict[str, object] = {}
        self.group_at = committed
        self.unanswered = 0  # questions that Kafka will leave unanswered
        self.sought: Callable[[], None] = lambda: None  # what comes in between
        self._at: int | None = None
        self._paused = False
        self._told_end: int | None = None
        self._assign: Callable[[], object] | None = None

    def __call__(self, config: dict[str, object], **_: object) -> Log:
        self.config = config
        return self

    def subscribe(self, _: object, on_assign: Callable[..., None], **__: object) -> None:
        self._assign = lambda: on_assign(self, [TopicPartition(TOPIC, 0)])

    def poll(self, _: float) -> Message | None:
        if self._assign is not None:
            self._assign, _ = None, self._assign()
        elif not self._paused:
            if self._at is None:
                self._at = self.group_at if self.group_at is not None else self.start
            return self._next(self._at if self.start <= self._at <= self.end else self.start)
        time.sleep(0.005)
        return None

    def _next(self, at: int) -> Message | None:
        while at < self.end and at not in self.offsets:
            at += 1
        self._at = at
        if at < self.end:
            self._at += 1
            return Message(at)
        if self._told_end != at:
            self._told_end = at
            return Message(at, KafkaError(KafkaError._PARTITION_EOF))
        time.sleep(0.005)
        return None

    def consume(self, *_: object) -> list[Message]:
        return []

    def committed(self, places: list[TopicPartition], **_: object) -> list[TopicPartition]:
        if self.unanswered:
            self.unanswered -= 1
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [TopicPartition(TOPIC, 0, -1001 if self.group_at is None else self.group_at) for _ in places]

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self.group_at = offsets[0].offset
        return offsets

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        return self.start, self.end

    def seek(self, place: TopicPartition) -> None:
        self._at = place.offset
        sought, self.sought = self.sought, lambda: None
        sought()

    def pause(self, _: object) -> None:
        self._paused = True

    def resume(self, _: object) -> None:
        self._paused = False

    def close(self) -> None:
        pass


class Message:
    """As librdkafka hands it out; with an error it is none."""

    def __init__(self, offset: int, error: KafkaError | None = None) -> None:
        self.offset = lambda: offset
        self.error = lambda: error
        self.topic = lambda: TOPIC
        self.partition = lambda: 0
        self.timestamp = lambda: (0, 0)
        self.key = self.value = self.headers = lambda: None


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(log: Log, **own: Any) -> AsyncIterator[Intake]:
        monkeypatch.setattr(polling, "Consumer", log)
        intake = Intake(KafkaSettings(bootstrap_servers="none"), group=GROUP, topics=[TOPIC], in_flight_max=100, **own)
        try:
            await intake.start()
            yield intake
        finally:
            await intake.close(0)

    return opened


async def take(intake: Intake, count: int) -> list[Record]:
    taken: list[Record] = []
    deadline = time.monotonic() + WAIT_S_MAX
    while len(taken) < count and time.monotonic() < deadline:
        taken += await intake.take(count - len(taken), wait_ms_max=200)
    return taken


def overtaken() -> float:
    return REGISTRY.get_sample_value("aios_records_overtaken_total", {"stage": "some", "topic": TOPIC}) or 0.0


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def test_kafka_keeps_records_back_only_for_who_has_time(reading: Callable[..., Any]) -> None:
    """An answer costs it a look at every partition: who has none of the time is answered at once all the same."""

    async def waits(**own: Any) -> dict[str, object]:
        log = Log(range(3))
        async with reading(log, **own) as intake:
            assert [record.offset for record in await take(intake, 3)] == [0, 1, 2]
        return {name: value for name, value in log.config.items() if name.startswith("fetch.") and "queue" not in name}

    assert asyncio.run(waits()) == {}
    assert asyncio.run(waits(gathers=True)) == {"fetch.min.bytes": 256 << 10, "fetch.wait.max.ms": 500}


@pytest.mark.parametrize(
    "stage", [stage for stage in topology.STAGES if stage.kind is Kind.SINK], ids=lambda one: one.name
)
def test_a_sink_has_its_records_kept_back_where_nobody_waits_for_it(stage: topology.Stage) -> None:
    """Callers wait for outcomes, operators for letters; who has seconds for a record gives up a quarter at most."""
    assert gathers(stage) == (stage.name in {"audit", "lake", "watch"})
    assert GATHER_MS * gathers(stage) <= stage.objective.p95_ms / 4


def test_what_retention_took_unread_is_told_and_counted(
    reading: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Committed up to 10, the log begins at 40: 30 are gone; from there on it is read and committed as ever."""
    log, before = Log(range(45), start=40, committed=10), overtaken()

    async def run() -> None:
        async with reading(log) as intake:
            taken = await take(intake, 5)
            assert [record.offset for record in taken] == [40, 41, 42, 43, 44]
            for record in taken:
                intake.finish(record)

    asyncio.run(run())
    assert errors(caplog) == [
        "offsets 10 to 39 of t[0] (30) were deleted before aios.some read them; it goes on at offset 40"
    ]
    assert (overtaken() - before, log.group_at) == (30, 45)


def test_a_backlog_that_is_gone_whole_is_told_too(
    reading: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing has come since: the end of the partition tells it."""
    log, before = Log(range(40), start=40, committed=10), overtaken()

    async def run() -> None:
        async with reading(log) as intake:
            assert await intake.take(1, wait_ms_max=300) == []

    asyncio.run(run())
    assert (len(errors(caplog)), overtaken() - before, log.group_at) == (1, 30, 40)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (Log(range(45), start=40, committed=10), r"offsets 10 to 39 of t\[0\] \(30\) were deleted before"),
        (Log(range(5), committed=50), r"read t\[0\] up to offset 50, and finds offset 0 behind it"),
    ],
)
def test_a_stage_that_may_miss_nothing_stops_before_the_hole(log: Log, words: str, reading: Callable[..., Any]) -> None:
    """With the command that lets it go on; nothing is handed out, and the group stays where it was."""
    committed = log.group_at

    async def run() -> None:
        with pytest.raises(StateBroken, match=words) as told:  # by whichever of start() and take() comes after the hole
            async with reading(log, skips=False) as intake:
                await take(intake, 1)
        assert f"--group {GROUP} --topic {TOPIC}:0 --reset-offsets --to-earliest --execute" in str(told.value)

    asyncio.run(run())
    assert log.group_at == committed


def test_a_topic_that_was_created_again_is_told_and_read_from_its_beginning(
    reading: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Of a group that had read further than it now reaches."""

    async def run() -> None:
        async with reading(Log(range(3), committed=50)) as intake:
            assert [record.offset for record in await take(intake, 3)] == [0, 1, 2]

    asyncio.run(run())
    assert errors(caplog) == [
        "aios.some has read t[0] up to offset 50, and finds offset 0 behind it: the topic was created again, or lost "
        "its end; it goes on at offset 0"
    ]


@pytest.mark.parametrize(
    ("log", "first"),
    [
        (Log(range(45), start=40), 40),  # nothing was ever committed
        (Log(range(20, 45), committed=10), 20),  # markers, or what compaction took: the log begins below
        (Log(range(45), start=40, committed=40), 40),  # everything that is gone had been read
    ],
)
def test_a_stage_that_misses_nothing_starts_without_a_word(
    log: Log, first: int, reading: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that would stop before a hole."""

    async def run() -> None:
        async with reading(log, skips=False) as intake:
            assert [record.offset for record in await take(intake, 1)] == [first]

    asyncio.run(run())
    assert errors(caplog) == []


def test_what_was_given_back_and_then_deleted_holds_nothing_up(
    reading: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A partition that pauses for a breaker longer than its retention: told from the lowest unfinished record on."""
    log = Log(range(10))

    async def run() -> None:
        async with reading(log) as intake:
            taken = await take(intake, 10)
            intake.finish(taken[0])
            intake.pause(TOPIC, 0, 200)
            log.start, log.offsets, log.end = 7, set(range(12)), 12
            again = await take(intake, 5)
            assert [record.offset for record in again] == [7, 8, 9, 10, 11]
            for record in again:
                intake.finish(record)
            assert intake.position(TOPIC, 0) == 12

    asyncio.run(run())
    assert errors(caplog) == [
        "offsets 1 to 6 of t[0] (6) were deleted before aios.some read them; it goes on at offset 7"
    ]


def test_what_is_given_back_while_its_partition_is_sought_comes_again(reading: Callable[..., Any]) -> None:
    """Though it stands below where the client was just told to go on."""
    log = Log(range(4))

    async def run() -> None:
        async with reading(log) as intake:
            taken = await take(intake, 4)
            log.sought = lambda: intake.release(taken[1])
            intake.release(taken[3])
            again = await take(intake, 2)
            assert sorted(record.offset for record in again) == [1, 3]
            for record in (taken[0], taken[2], *again):
                intake.finish(record)
            assert intake.position(TOPIC, 0) == 4

    asyncio.run(run())


def test_a_position_that_kafka_does_not_tell_at_once_is_asked_for_again(
    reading: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise the hole behind it would be passed without a word."""
    log = Log(range(45), start=40, committed=10)
    log.unanswered = 2

    async def run() -> None:
        async with reading(log) as intake:
            assert [record.offset for record in await take(intake, 1)] == [40]

    asyncio.run(run())
    assert len(errors(caplog)) == 1


def test_who_may_skip_is_declared_with_the_stage() -> None:
    """The chain of the audit and what acts outside may not."""
    refusing = {stage.name for stage in topology.STAGES if not stage.skips}
    assert refusing == {"audit", *(stage.name for stage in topology.STAGES if stage.kind is Kind.CONNECTOR)}
