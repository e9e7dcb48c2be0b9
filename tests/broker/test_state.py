"""The store of one partition on a real broker: what it commits, what it skips, what it refuses."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import REGISTRY

from aios.dlq.deaths import Deaths
from aios.dlq.settle import Settler
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.log import KafkaLog
from aios.processors.stateful.state import Effects, StateView, Work
from aios.processors.stateful.store import SURVEY_MS_MIN, PartitionStore, Paused, Services
from aios.schemas.models import PositionRemembered
from aios.streams.config import KafkaSettings
from aios.streams.errors import Fenced, StateBroken, Unavailable
from aios.streams.record import Outgoing
from aios.streams.topology import Stage
from tests.broker.stages import Count, codec_of, committed, counting_stage, create, put, put_back, raw
from tests.fakes.breakers import OwnBreakers


class Bench:
    """A stage of its own with one partition, and stores on it."""

    def __init__(self, kafka: KafkaSettings, stage: Stage, home: Path) -> None:
        self.kafka = kafka
        self.stage = stage
        self.core: Any = Count(stage.writes[0].name, stage.reads[-1].name)
        self.inputs = [topic.name for topic in stage.reads]
        self._services = Services(
            stage=stage,
            core=self.core,
            codec=codec_of(stage),
            log=KafkaLog(kafka, stage, codec_of(stage)),
            deaths=Deaths(home, stage.name),
            settler=Settler(stage, "test", breakers=OwnBreakers()),
        )

    def use(self, core: Count) -> Any:
        """Stores made from now on have this core."""
        self._services = replace(self._services, core=core)
        return core

    def store(self) -> PartitionStore:
        """As another process would make it. A broker that just started has no coordinator yet."""
        store = PartitionStore(self._services, 0)
        deadline = time.monotonic() + 15
        while True:
            try:
                store.open()
                return store
            except Unavailable:
                if time.monotonic() > deadline:
                    raise

    def batch(self, topic: str, start: int = 0) -> Batch:
        """Everything that stands in the input from there on."""
        records = [one for one in raw(self.kafka, topic) if one.offset >= start]
        return Batch(topic, 0, start, records, records[-1].offset + 1)

    def told(self) -> list[tuple[str, int]]:
        found = [json.loads(one.value()) for one in committed(self.kafka, self.core.out)]
        return [(one["id"], one["n"]) for one in found]

    def changelog(self) -> dict[bytes, bytes | None]:
        assert self.stage.changelog is not None
        return {one.key(): one.value() for one in committed(self.kafka, self.stage.changelog.name)}


@pytest.fixture
def bench(kafka: KafkaSettings, unique: str, tmp_path: Path) -> Bench:
    stage = counting_stage(unique, inputs=2)
    create(kafka, stage, partitions=1)
    return Bench(kafka, stage, tmp_path)


def test_outputs_state_and_position_come_back_after_a_restart(bench: Bench) -> None:
    """A batch is told once and remembered; the next process goes on counting and skips what it is given again."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1"), ("b", "2"), ("a", "3")])
    bench.store().apply([bench.batch(first)])
    put(bench.kafka, first, [("a", "4")])
    again = bench.store()
    assert again.restored == 4  # two keys, and the position of the opening and of the batch
    assert again.position[first] == 3
    again.apply([bench.batch(first)])
    assert bench.told() == [("1", 1), ("2", 1), ("3", 2), ("4", 3)]


def test_a_forgotten_key_starts_again_and_its_position_is_kept(bench: Bench) -> None:
    """A batch that only forgets still moves the position: tombstones carry none."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1"), ("a", '{"do": "forget"}')])
    bench.store().apply([bench.batch(first)])
    again = bench.store()
    put(bench.kafka, first, [("a", "2")])
    again.apply([bench.batch(first)])
    assert bench.told() == [("1", 1), ("2", 1)]


def test_two_inputs_share_one_state(bench: Bench) -> None:
    """Records of both topics count for the same key, and both positions stand in one record."""
    first, second = bench.inputs
    put(bench.kafka, first, [("a", "1")])
    put(bench.kafka, second, [("a", "2")])
    store = bench.store()
    store.apply([bench.batch(first), bench.batch(second)])
    assert bench.told() == [("1", 1), ("2", 2)]
    value = bench.changelog()[b"\0position"]
    position = codec_of(bench.stage).decode(value, PositionRemembered)
    assert {first: 1, second: 1}.items() <= dict(position.inputs).items()
    assert position.partitions == 1


def test_an_earlier_owner_is_fenced(bench: Bench) -> None:
    """A process that lost its partition without noticing cannot write, and nothing of its batch is seen."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1")])
    zombie = bench.store()
    owner = bench.store()
    with pytest.raises(Fenced):
        zombie.apply([bench.batch(first)])
    owner.apply([bench.batch(first)])
    assert bench.told() == [("1", 1)]


def test_a_reopened_store_reads_only_the_tail(bench: Bench) -> None:
    """After a revocation that came back, what others wrote meanwhile is taken in, and nothing else is read."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1"), ("b", "2"), ("c", "3")])
    store = bench.store()
    store.apply([bench.batch(first)])
    store.close()
    put(bench.kafka, first, [("a", "4")])
    bench.store().apply([bench.batch(first)])
    store.open()
    assert store.restored == 3  # the position twice, and key a
    put(bench.kafka, first, [("a", "5")])
    store.apply([bench.batch(first)])
    assert bench.told()[-2:] == [("4", 2), ("5", 3)]


def test_a_reopened_store_keeps_its_own_position(bench: Bench) -> None:
    """Closed and opened with nobody in between: what it committed itself is not processed again."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1"), ("a", "2")])
    store = bench.store()
    store.apply([bench.batch(first)])
    store.close()
    store.open()
    assert store.restored == 0
    store.apply([bench.batch(first)])
    assert bench.told() == [("1", 1), ("2", 2)]


def test_a_failing_record_leaves_only_its_dead_letter(bench: Bench) -> None:
    """Its changes are dropped, the records around it go on, and its original bytes are in the dead letters."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1"), ("a", '{"do": "fail"}'), ("a", '{"do": "oversize"}'), ("a", "2")])
    bench.store().apply([bench.batch(first)])
    assert bench.told() == [("1", 1), ("2", 2)]
    dead = committed(bench.kafka, bench.stage.dead_letters.name)
    assert [one.value() for one in dead] == [b'{"do": "fail"}', b'{"do": "oversize"}']


def test_a_dead_letter_is_part_of_its_transaction(bench: Bench) -> None:
    """One whose batch was not committed was never written: only the owner's is seen."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", '{"do": "fail"}')])
    zombie = bench.store()
    owner = bench.store()
    with pytest.raises(Fenced):
        zombie.apply([bench.batch(first)])
    assert committed(bench.kafka, bench.stage.dead_letters.name) == []
    owner.apply([bench.batch(first)])
    assert len(committed(bench.kafka, bench.stage.dead_letters.name)) == 1


def test_while_something_is_away_nothing_is_settled(bench: Bench) -> None:
    """A pause commits what came before, dead-letters nothing, and the same batch goes through later."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1")])
    store = bench.store()
    bench.core.away = True
    with pytest.raises(Paused):
        store.apply([bench.batch(first)])
    assert store.position[first] == 0
    bench.core.away = False
    store.apply([bench.batch(first)])
    assert bench.told() == [("1", 1)]
    assert committed(bench.kafka, bench.stage.dead_letters.name) == []


def test_a_held_key_is_remembered_over_a_restart(kafka: KafkaSettings, unique: str, tmp_path: Path) -> None:
    """What failed on an ordered input holds its key in the changelog, until all that followed has come back."""
    stage = counting_stage(unique, inputs=2, ordered=True)
    create(kafka, stage, partitions=1)
    bench = Bench(kafka, stage, tmp_path)
    first, second = bench.inputs
    put(kafka, first, [("a", '{"do": "fail"}'), ("a", '{"do": "timer", "in_ms": 1}'), ("b", "1")])
    bench.store().apply([bench.batch(first)])
    put(kafka, first, [("a", "2")])
    put(kafka, second, [("a", "a deadline")])
    bench.store().apply([bench.batch(first), bench.batch(second)])
    assert bench.told() == [("1", 1), ("a deadline", 1)]
    head, timer, last = committed(kafka, stage.dead_letters.name)
    assert bench.changelog()[b"\0parked:a"] is not None
    assert _keys_parked(stage) == 1
    put_back(kafka, stage, [(last, b"2"), (head, b"0"), (timer, timer.value()), (last, b"2")])
    store = bench.store()
    store.apply([bench.batch(stage.retries.name)])
    assert bench.told() == [("1", 1), ("a deadline", 1), ("0", 2), ("2", 3)]
    assert bench.changelog()[b"\0parked:a"] is None
    assert _keys_parked(stage) == 0
    assert store.due_in_ms() is not None


def _keys_parked(stage: Stage) -> float | None:
    return REGISTRY.get_sample_value("aios_keys_parked", {"stage": stage.name, "partition": "0"})


def test_a_gap_between_consumer_and_store_is_refused(bench: Bench) -> None:
    """A batch that begins above the position means that records were passed over."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1"), ("a", "2")])
    with pytest.raises(StateBroken, match="goes on at 1, but 0"):
        bench.store().apply([bench.batch(first, start=1)])
    assert bench.told() == []


def test_timers_survive_a_restart_and_fire_once_as_inputs(bench: Bench) -> None:
    """Set, cancelled and due: only the due one fires, into the stage's own input, and is gone afterwards."""
    first, second = bench.inputs
    asked = [("a", '{"do": "timer", "in_ms": 1}'), ("b", '{"do": "timer", "in_ms": 1}'), ("b", '{"do": "cancel"}')]
    put(bench.kafka, first, [*asked, ("c", '{"do": "timer", "in_ms": 3600000}')])
    bench.store().apply([bench.batch(first)])
    store = bench.store()
    assert _fired(store) == 1
    assert [one.value for one in raw(bench.kafka, second)] == [b"fired t"]
    assert bench.store().tick() == 0
    later = store.due_in_ms()
    assert later is not None
    assert 3_500_000 < later <= 3_600_000


def test_a_state_that_ended_is_told_once_over_restarts(bench: Bench) -> None:
    """Its end stands in its own record: read back, due, one input; the state stays until that input is processed."""
    first, second = bench.inputs
    put(bench.kafka, first, [("a", "1"), ("a", '{"do": "end", "at_ms": 1}'), ("b", '{"do": "end", "at_ms": 1}')])
    put(bench.kafka, first, [("b", "2"), ("c", '{"do": "end", "at_ms": 9000000000000}')])
    bench.store().apply([bench.batch(first)])
    assert _fired(bench.store()) == 1
    assert [(one.key, one.value) for one in raw(bench.kafka, second)] == [(b"a", b"fired forget")]
    store = bench.store()
    store.apply([replace(bench.batch(second), end=2)])  # behind the marker of the transaction that fired
    deadline = time.monotonic() + 10
    while not store.due_in_ms():
        assert store.tick() == 0
        assert time.monotonic() < deadline
    put(bench.kafka, first, [("c", "3")])
    store.apply([bench.batch(first)])
    assert bench.told()[-2:] == [("fired forget", 2), ("3", 2)]


def test_timers_wait_for_the_answers_that_are_already_there(bench: Bench) -> None:
    """A due timer does not fire before what stood in the inputs when the partition opened is processed."""
    first, second = bench.inputs
    put(bench.kafka, first, [("a", '{"do": "timer", "in_ms": 0}')])
    bench.store().apply([bench.batch(first)])
    put(bench.kafka, second, [("a", "the answer")])
    store = bench.store()
    assert store.due_in_ms() == 0
    assert store.tick() == 0
    store.apply([bench.batch(second)])
    assert _fired(store) == 1


def test_timers_wait_for_the_answers_that_came_before_they_were_due(bench: Bench) -> None:
    """Also where the partition has been open for long: whoever was slow, or waited, reads first what is there."""
    first, second = bench.inputs
    put(bench.kafka, first, [("a", '{"do": "timer", "in_ms": 300}')])
    store = bench.store()
    store.apply([bench.batch(first)])
    put(bench.kafka, second, [("a", "the answer")])
    while store.due_in_ms():
        assert store.tick() == 0
    time.sleep(SURVEY_MS_MIN / 1000)
    assert store.tick() == 0
    store.apply([bench.batch(second)])
    assert _fired(store) == 1


class Job(Count):
    """Tells three things in turns of its own after a record named its key; what is told stands in state."""

    def opened(self, state: StateView) -> None:
        self.found = dict(state.scan(b"job:"))

    def work(self, state: StateView, now_ms: int) -> Work:
        told = int(state.get(b"job:a") or b"0")
        if state.get(b"a") is None or told == 3:
            return Work(None, None)
        out = Outgoing(self.out, b"a", json.dumps({"id": "job", "n": told}).encode())
        return Work(Effects((out,), {b"job:a": b"%d" % (told + 1)}), 0 if told == 1 else 60_000)


def test_a_core_works_by_itself_in_transactions_of_its_own(bench: Bench) -> None:
    """After a record, then when it asked for it; what it remembers and what it told are one thing, also restarted."""
    first, _ = bench.inputs
    bench.core = bench.use(Job(bench.core.out))
    store = bench.store()
    assert store.work_in_ms() == 0
    store.work()
    assert store.work_in_ms() is None
    put(bench.kafka, first, [("a", "1")])
    store.apply([bench.batch(first)])
    assert store.work_in_ms() == 0
    store.work()
    assert 50_000 < (store.work_in_ms() or 0) <= 60_000
    zombie, store = store, bench.store()
    assert bench.core.found == {b"job:a": b"1"}
    with pytest.raises(Fenced):
        zombie.work()
    while store.work_in_ms() == 0:
        store.work()
    assert bench.told() == [("1", 1), ("job", 0), ("job", 1), ("job", 2)]


def _fired(store: PartitionStore) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if fired := store.tick():
            return fired
    raise AssertionError("no timer fired")


def test_topics_that_do_not_fit_the_state_are_refused(bench: Bench) -> None:
    """A log cut above the position, offsets committed beyond it, a topic created again: each stops the process."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1"), ("a", "2"), ("a", "3")])
    bench.store().apply([replace(bench.batch(first), records=raw(bench.kafka, first)[:1], end=1)])
    admin = AdminClient({"bootstrap.servers": bench.kafka.bootstrap_servers, "log_level": 0})

    _commit(bench, TopicPartition(first, 0, 2))
    with pytest.raises(StateBroken, match=r"committed offset 2 .* above its position 1"):
        bench.store()
    _commit(bench, TopicPartition(first, 0, 1))
    bench.store()

    _done(admin.delete_records([TopicPartition(first, 0, 2)]))
    with pytest.raises(StateBroken, match="starts at 2, above its position 1"):
        bench.store()

    _done(admin.delete_topics([first]))
    _until_created(bench)
    with pytest.raises(StateBroken, match="deleted and created again"):
        bench.store()


def test_a_lost_changelog_is_refused(bench: Bench) -> None:
    """Offsets of the group without a position: starting at the beginning would repeat everything."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1")])
    _commit(bench, TopicPartition(first, 0, 1))
    with pytest.raises(StateBroken, match="the changelog was lost"):
        bench.store()


def test_an_offset_at_the_beginning_says_of_no_lost_changelog(bench: Bench) -> None:
    """Nothing was processed then, so that nothing is lost or repeated."""
    first, _ = bench.inputs
    put(bench.kafka, first, [("a", "1")])
    _commit(bench, TopicPartition(first, 0, 0))
    assert bench.store().position[first] == 0


def _commit(bench: Bench, place: TopicPartition) -> None:
    group = {"bootstrap.servers": bench.kafka.bootstrap_servers, "group.id": bench.stage.group, "log_level": 0}
    consumer = Consumer(group)
    consumer.commit(offsets=[place], asynchronous=False)
    consumer.close()


def _done(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result(10)


def _until_created(bench: Bench) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            return create(bench.kafka, bench.stage, 1)
        except KafkaException:  # its deletion is not done yet
            if time.monotonic() > deadline:
                raise
