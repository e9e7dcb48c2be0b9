"""Delivery and intake on a real broker: the laws of delivery, one by one."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from aios.streams import intake as intake_module
from aios.streams import polling
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Fenced, Reason, SchemaMismatch, StateBroken, Unavailable
from aios.streams.kafka import Delivery, Intake, Place, ensure_topics, read_all, read_one
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RECORD_BYTES_MAX, Family, Topic

pytestmark = pytest.mark.broker
WAIT_S_MAX = 20.0
PARTITIONS = 6


@pytest.fixture
def topic(kafka: KafkaSettings, unique: str) -> str:
    return create(kafka, f"t.{unique}")


@pytest.fixture
def one(kafka: KafkaSettings, unique: str) -> str:
    """A topic of one partition."""
    return create(kafka, f"one.{unique}", Family.REFERENCE)


@pytest.fixture
def group(unique: str) -> str:
    return f"aios.g-{unique}"


def create(kafka: KafkaSettings, name: str, family: Family = Family.CASE, **changed: Any) -> str:
    asyncio.run(ensure_topics(kafka, [Topic(name=name, contracts=(), key="k", family=family, **changed)]))
    return name


@asynccontextmanager
async def delivering(kafka: KafkaSettings, **changed: Any) -> AsyncIterator[Delivery]:
    delivery = Delivery(kafka, client_id="test", **changed)
    try:
        yield delivery
    finally:
        delivery.close()


@asynccontextmanager
async def taking(kafka: KafkaSettings, group: str, topic: str, **changed: Any) -> AsyncIterator[Intake]:
    intake = Intake(kafka, group=group, topics=[topic], **{"in_flight_max": 100} | changed)
    await intake.start()
    try:
        yield intake
    finally:
        await intake.close(0)


async def put(kafka: KafkaSettings, topic: str, *values: str, key: str | None = None) -> list[Place]:
    async with delivering(kafka) as delivery:
        return await delivery.deliver_all(Outgoing(topic, (key or value).encode(), value.encode()) for value in values)


async def take_all(intake: Intake, count: int) -> list[Record]:
    """Until there are that many, or it lasted too long."""
    taken: list[Record] = []
    deadline = time.monotonic() + WAIT_S_MAX
    while len(taken) < count and time.monotonic() < deadline:
        taken += await intake.take(count - len(taken), wait_ms_max=500)
    return taken


async def until(true: Callable[[], Awaitable[bool]]) -> bool:
    deadline = time.monotonic() + WAIT_S_MAX
    while not (held := await true()) and time.monotonic() < deadline:  # noqa: ASYNC110 - what is asked is far away
        await asyncio.sleep(0.05)
    return held


def values(records: list[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


class Committed:
    """What the broker holds for a group."""

    def __init__(self, kafka: KafkaSettings, group: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group})
        self._topic = topic

    def total(self) -> int:
        """Records passed, over all partitions."""
        places = [TopicPartition(self._topic, partition) for partition in range(PARTITIONS)]
        return sum(max(0, place.offset) for place in self._consumer.committed(places, timeout=WAIT_S_MAX))

    async def becomes(self, total: int) -> bool:
        async def is_so() -> bool:
            return self.total() == total

        return await until(is_so)


# Delivery


def test_a_delivered_record_is_where_its_place_says(kafka: KafkaSettings, topic: str) -> None:
    """Key, value, headers and partition as given; places in the order given; keys where murmur2 puts them, 60 of 60."""

    async def run() -> None:
        keys = [f"case-{number}".encode() for number in range(60)]
        outs = [Outgoing(topic, key, b"v" + key, (("h", b"1"), ("none", None))) for key in keys]
        async with delivering(kafka) as delivery:
            places = await delivery.deliver_all(outs)
            own = await delivery.deliver(Outgoing(topic, keys[0], None, partition=5))
        assert [place.partition for place in places] == [partition_of(key, PARTITIONS) for key in keys]
        assert own.partition == 5
        for out, place in zip(outs[:3], places, strict=False):
            record = read_one(kafka, topic, place.partition, place.offset)
            assert record is not None
            assert (record.key, record.value, tuple(record.headers)) == (out.key, out.value, out.headers)
            assert record.timestamp_ms == place.timestamp_ms
            assert abs(record.timestamp_ms - time.time() * 1000) < 60_000
        tombstone = read_one(kafka, topic, 5, own.offset)
        assert tombstone is not None
        assert tombstone.value is None

    asyncio.run(run())


def test_a_record_that_is_too_large_is_refused_and_the_next_one_is_not(kafka: KafkaSettings, unique: str) -> None:
    """Before it is sent where the bound is known, by the broker's word where it is not; never as Unavailable."""

    async def run() -> None:
        small = await asyncio.to_thread(create, kafka, f"small.{unique}", bytes_max=2_000)
        async with delivering(kafka) as delivery:
            for topic, size in ((small, 4_000), ("audit.recorded.v1", RECORD_BYTES_MAX), (small, 2 << 20)):
                with pytest.raises(SchemaMismatch) as caught:
                    await delivery.deliver(Outgoing(topic, b"k", b"x" * size))
                assert caught.value.reason is Reason.OVERSIZE
            assert (await delivery.deliver(Outgoing(small, b"k", b"x" * 1_000))).offset == 0
            with pytest.raises(SchemaMismatch):
                await delivery.deliver_all([Outgoing(small, b"k", b"y"), Outgoing(small, b"k", b"x" * (2 << 20))])
        assert values(list(read_all(kafka, small))) == ["x" * 1_000]

    asyncio.run(run())


def test_a_topic_that_does_not_exist_stops_the_deploy(kafka: KafkaSettings, topic: str) -> None:
    """Also a partition that does not; nothing is created on the way."""

    async def run() -> None:
        async with delivering(kafka, deliver_s_max=2.0) as delivery:
            with pytest.raises(StateBroken):
                await delivery.deliver(Outgoing(topic + ".no", b"k", b"v"))
            await delivery.deliver(Outgoing(topic, b"k", b"v"))  # its partitions are known now
            with pytest.raises(StateBroken):
                await delivery.deliver(Outgoing(topic, b"k", b"v", partition=PARTITIONS))

    asyncio.run(run())


def test_deliveries_of_many_loops_and_tasks_end_each_on_its_own(kafka: KafkaSettings, topic: str) -> None:
    """One producer for threads with loops of their own; a caller that is cancelled disturbs nobody."""
    delivery = Delivery(kafka, client_id="test")

    async def run(name: str) -> None:
        tasks = [asyncio.create_task(delivery.deliver(Outgoing(topic, b"k", f"{name}{n}".encode()))) for n in range(50)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert len({place.offset for place in done[1:] if isinstance(place, Place)}) == 49

    async def both() -> None:
        await asyncio.gather(asyncio.to_thread(asyncio.run, run("a")), asyncio.to_thread(asyncio.run, run("b")))

    asyncio.run(both())
    delivery.close()
    assert len(list(read_all(kafka, topic))) == 100


def test_without_kafka_a_delivery_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an intake just has no records; nothing hangs, closing included."""
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    monkeypatch.setattr(intake_module, "JOIN_S_MAX", 0.3)

    async def run() -> None:
        began = time.monotonic()
        async with delivering(nowhere, deliver_s_max=0.5) as delivery:
            with pytest.raises(Unavailable):
                await delivery.deliver(Outgoing("t", b"k", b"v"))
            assert time.monotonic() - began < 5
        async with taking(nowhere, "aios.nowhere", "t") as intake:
            assert await intake.take(1, wait_ms_max=100) == []
        assert time.monotonic() - began < 10

    asyncio.run(run())


def test_a_full_queue_waits_and_then_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting records are bounded by number; the caller learns it in time."""
    monkeypatch.setattr("aios.streams.delivery.QUEUE_RECORDS_MAX", 5)

    async def run() -> None:
        async with delivering(KafkaSettings(bootstrap_servers="127.0.0.1:1"), deliver_s_max=0.5) as delivery:
            outs = [Outgoing("t", b"k", b"v")] * 20
            with pytest.raises(Unavailable):
                await delivery.deliver_all(outs)

    asyncio.run(run())


# Intake


def test_a_commit_never_passes_an_unfinished_record(kafka: KafkaSettings, one: str, group: str) -> None:
    """Finished out of order, committed up to the lowest unfinished one; the rest when that ends."""

    async def run() -> None:
        await put(kafka, one, *numbers(10))
        committed = Committed(kafka, group, one)
        async with taking(kafka, group, one) as intake:
            taken = await take_all(intake, 10)
            assert values(taken) == numbers(10)
            for record in reversed(taken[4:]):
                intake.finish(record)
            for record in taken[:3]:
                intake.finish(record)
            assert await committed.becomes(3)
            intake.finish(taken[5])  # again: nothing
            intake.finish(taken[3])
            assert await committed.becomes(10)
            assert not any(intake.owns(record) for record in taken)

    asyncio.run(run())


def test_in_flight_is_bounded_and_a_slow_stage_keeps_its_membership(
    kafka: KafkaSettings, one: str, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 3,000 records behind 5 in hand the partition is paused, polling goes on; then all come, once, in order."""
    monkeypatch.setattr(polling, "FULL_S", 0.05)

    async def run() -> None:
        await put(kafka, one, *numbers(3_000), key="k")
        async with taking(kafka, group, one, in_flight_max=5) as intake:
            taken = await take_all(intake, 5)
            lane = intake._hands.lanes[one, 0]

            async def is_paused() -> bool:
                return lane.paused is True

            assert await until(is_paused)
            assert await intake.take(1, wait_ms_max=50) == []
            assert intake._hands.waiting <= 500
            seen = values(taken)
            while taken:
                for record in taken:
                    intake.finish(record)
                taken = await intake.take(5, wait_ms_max=2_000)
                seen += values(taken)
            assert seen == numbers(3_000)

    asyncio.run(run())


def test_what_is_given_back_comes_again(kafka: KafkaSettings, one: str, group: str) -> None:
    """A released record alone; a paused partition from its lowest unfinished record on, and not before its time."""

    async def run() -> None:
        await put(kafka, one, *numbers(6))
        async with taking(kafka, group, one) as intake:
            taken = await take_all(intake, 6)
            intake.finish(taken[0])
            intake.release(taken[2])
            assert not intake.owns(taken[2])
            (again,) = await take_all(intake, 1)
            assert (again.offset, intake.owns(again)) == (2, True)
            assert await intake.take(1, wait_ms_max=100) == []
            began = time.monotonic()
            intake.finish(taken[4])
            intake.pause(one, 0, 400)
            assert not any(intake.owns(record) for record in [*taken, again])
            intake.finish(taken[1])  # too late: it comes again
            assert values(await take_all(intake, 4)) == ["1", "2", "3", "5"]
            assert time.monotonic() - began > 0.35
            assert await intake.take(1, wait_ms_max=100) == []

    asyncio.run(run())


def test_what_is_deleted_while_its_partition_waits_is_told_and_holds_nothing_up(
    kafka: KafkaSettings, one: str, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    """From the lowest unfinished record to where the log begins; then it is read and committed as ever."""
    admin = AdminClient(client(kafka))

    async def run() -> None:
        await put(kafka, one, *numbers(6))
        committed = Committed(kafka, group, one)
        async with taking(kafka, group, one) as intake:
            taken = await take_all(intake, 6)
            intake.finish(taken[0])
            intake.pause(one, 0, 500)
            (deleted,) = admin.delete_records([TopicPartition(one, 0, 4)]).values()
            deleted.result(WAIT_S_MAX)
            again = await take_all(intake, 2)
            assert values(again) == ["4", "5"]
            for record in again:
                intake.finish(record)
            assert await committed.becomes(6)

    asyncio.run(run())
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told == [f"offsets 1 to 3 of {one}[0] (3) were deleted before {group} read them; it goes on at offset 4"]


def test_aborted_records_are_never_seen(kafka: KafkaSettings, one: str, group: str) -> None:
    """By no reader; and transaction markers leave no lag behind that nobody can work off."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": group})
    producer.init_transactions(WAIT_S_MAX)
    for value, end in (("a", producer.commit_transaction), ("b", producer.abort_transaction)) * 2:
        producer.begin_transaction()
        producer.produce(one, key="k", value=value)
        producer.flush(WAIT_S_MAX)
        end(WAIT_S_MAX)
    assert values(list(read_all(kafka, one))) == ["a", "a"]
    assert read_one(kafka, one, 0, 2) is None

    async def run() -> None:
        committed = Committed(kafka, group, one)
        async with taking(kafka, group, one) as intake:
            taken = await take_all(intake, 2)
            assert values(taken) == ["a", "a"]
            assert await intake.take(1, wait_ms_max=100) == []
            for record in taken:
                intake.finish(record)
            assert await committed.becomes(8)

            async def is_worked_off() -> bool:
                return intake.lag() == {(one, 0): 0}

            assert await until(is_worked_off)

    asyncio.run(run())


def test_closing_lets_work_in_hand_finish(kafka: KafkaSettings, one: str, group: str) -> None:
    """What finishes within the bound is committed, what does not comes again."""

    async def run() -> None:
        await put(kafka, one, *numbers(4))
        intake = Intake(kafka, group=group, topics=[one], in_flight_max=10)
        await intake.start()
        taken = await take_all(intake, 2)
        closing = asyncio.create_task(intake.close(10))
        await asyncio.sleep(0)
        for record in taken:
            intake.finish(record)
        await closing
        assert Committed(kafka, group, one).total() == 2
        async with taking(kafka, group, one) as heir:
            assert values(await take_all(heir, 2)) == ["2", "3"]
            await heir.close(0)
        assert Committed(kafka, group, one).total() == 2

    asyncio.run(run())


# Several members


def test_partitions_that_leave_are_drained_first(
    kafka: KafkaSettings, topic: str, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On revoke, work in hand may finish and is committed; what did not is not owned any more and its heir gets it."""

    async def run() -> None:
        await put(kafka, topic, *numbers(60))
        first, revoking = (
            Intake(kafka, group=group, topics=[topic], in_flight_max=100, drain_s_max=1.0),
            threading.Event(),
        )
        revoked = first._polling._revoked

        def watched(consumer: Consumer, places: Any) -> None:
            revoking.set()
            revoked(consumer, places)

        monkeypatch.setattr(first._polling, "_revoked", watched)
        await first.start()
        taken = await take_all(first, 60)
        stuck = {record.partition: record for record in taken}  # the last one of each partition
        async with taking(kafka, group, topic) as second:
            assert await asyncio.to_thread(revoking.wait, WAIT_S_MAX)
            for record in taken:
                if record not in stuck.values():
                    first.finish(record)
            inherited = await take_all(second, PARTITIONS // 2)
            kept = [record for record in stuck.values() if first.owns(record)]
            assert len(kept) == PARTITIONS // 2
            assert {r.value for r in inherited} == {r.value for r in stuck.values()} - {r.value for r in kept}
            for record in stuck.values():
                first.finish(record)  # counts for those it still owns
            committed = Committed(kafka, group, topic)
            assert await committed.becomes(60 - PARTITIONS // 2)
            for record in inherited:
                second.finish(record)
            assert await committed.becomes(60)
            await first.close(0)

    asyncio.run(run())


def test_who_joins_later_has_a_share_of_each_topic(kafka: KafkaSettings, unique: str, group: str) -> None:
    """Of what is asked as of what returns; counted alone, one could get all of a topic that nobody writes to."""
    topics = [create(kafka, f"{name}.{unique}") for name in ("requested", "retry")]

    def owned(intake: Intake) -> list[int]:
        places = list(intake._hands.lanes)
        return [sum(topic == name for topic, _ in places) for name in topics]

    async def run() -> None:
        names = (f"{group}.0", f"{group}.1")
        first, second = (Intake(kafka, group=group, topics=topics, instance_id=name, in_flight_max=9) for name in names)

        async def alone() -> bool:
            return owned(first) == [PARTITIONS, PARTITIONS]

        async def both() -> bool:
            return owned(first) == owned(second) == [PARTITIONS // 2, PARTITIONS // 2]

        await first.start()
        assert await until(alone)
        await second.start()
        assert await until(both), (owned(first), owned(second))
        await first.close(0)
        await second.close(0)

    asyncio.run(run())


def test_a_second_process_in_the_same_place_fences_the_first(kafka: KafkaSettings, one: str, group: str) -> None:
    """take() raises, so that the process leaves; nothing of its is counted any more."""

    async def run() -> None:
        await put(kafka, one, *numbers(2))
        member = {"instance_id": f"{group}.0", "session_timeout_ms": 6_000}
        async with taking(kafka, group, one, **member) as first:
            (record,) = await take_all(first, 1)
            async with taking(kafka, group, one, **member) as second:
                with pytest.raises(Fenced):
                    await take_all(first, 10)
                assert not first.owns(record)
                first.finish(record)
                assert values(await take_all(second, 2)) == ["0", "1"]
            assert Committed(kafka, group, one).total() == 0

    asyncio.run(run())


MEMBER = """
import asyncio, sys
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Intake

async def run(address, topic, group, instance_id):
    intake = Intake(KafkaSettings(bootstrap_servers=address), group=group, topics=[topic], instance_id=instance_id,
                    in_flight_max=10, session_timeout_ms=6_000)
    await intake.start()
    taken = []
    while len(taken) < 2:
        taken += await intake.take(2, wait_ms_max=20_000)
    print(*[record.offset for record in taken], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    intake.finish(taken[0])
    for _ in range(200):
        if not intake.owns(taken[1]):
            break
        await asyncio.sleep(0.05)
    print(intake.owns(taken[1]), flush=True)
    intake.finish(taken[1])
    await intake.close(0)

asyncio.run(run(*sys.argv[1:]))
"""


class Member:
    """A process that takes two records, finishes one when told to, and says whether it still owns the other."""

    def __init__(self, kafka: KafkaSettings, topic: str, group: str, instance_id: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MEMBER, kafka.bootstrap_servers, topic, group, instance_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def says(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), WAIT_S_MAX)).strip()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("on\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        with self.process:
            pass


@pytest.fixture
def members() -> Iterator[list[Member]]:
    started: list[Member] = []
    yield started
    for member in started:
        member.end()


def test_a_member_killed_before_its_commit_gets_the_record_again(
    kafka: KafkaSettings, one: str, group: str, members: list[Member]
) -> None:
    """Its slot takes over at once under the same instance id, from what is committed."""

    async def run() -> None:
        await put(kafka, one, *numbers(2))
        members.append(Member(kafka, one, group, f"{group}.0"))
        assert await members[0].says() == "0 1"
        members[0].process.send_signal(signal.SIGKILL)
        began = time.monotonic()
        async with taking(kafka, group, one, instance_id=f"{group}.0") as restarted:
            assert values(await take_all(restarted, 2)) == ["0", "1"]
            assert time.monotonic() - began < 5

    asyncio.run(run())


def test_a_member_that_slept_through_its_session_changes_nothing(
    kafka: KafkaSettings, one: str, group: str, members: list[Member]
) -> None:
    """Stopped for longer than its session, it wakes with a result: no commit of it is taken, and it learns that."""

    async def run() -> None:
        await put(kafka, one, *numbers(2))
        members.append(Member(kafka, one, group))
        assert await members[0].says() == "0 1"
        members[0].process.send_signal(signal.SIGSTOP)
        async with taking(kafka, group, one) as heir:
            taken = await take_all(heir, 2)
            assert values(taken) == ["0", "1"]
            members[0].process.send_signal(signal.SIGCONT)
            members[0].tell()
            assert await members[0].says() == "False"
            assert members[0].process.wait(WAIT_S_MAX) == 0
            committed = Committed(kafka, group, one)
            assert committed.total() == 0
            for record in taken:
                heir.finish(record)
            assert await committed.becomes(2)

    asyncio.run(run())
