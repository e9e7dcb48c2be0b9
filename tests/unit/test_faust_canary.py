"""What processors/stateful/app.py relies on inside Faust and aiokafka: an upgrade that moves it fails here."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher, group_coordinator
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as DefaultRecordBatchBuilder
from faust.tables import TableManager
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from intervaltree import IntervalTree

from aios.processors.stateful import app, unpacking
from aios.processors.stateful.member import Member
from aios.streams.config import KafkaSettings, Settings
from aios.streams.errors import StateBroken
from aios.streams.record import Record
from aios.streams.topology import ADMIT, PLAN

ATTRIBUTES_AT = 22  # of a record batch, the low byte


class _Strange(str):
    """A name that is written as bytes that are no text."""

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The app of plan and its consumer, never started."""
    settings = Settings(
        home=tmp_path_factory.mktemp("home"), kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1,127.0.0.2:2")
    )

    async def build() -> Any:
        found = app.build(PLAN, settings, 3, lanes=None)  # type: ignore[arg-type]  # it is never started
        found.finalize()
        assert found.consumer
        return found

    loop = asyncio.new_event_loop()
    made = loop.run_until_complete(build())
    yield made
    made.consumer._thread.thread_loop.close()
    loop.close()


def test_the_versions_are_the_ones_that_were_read() -> None:
    """Every override in processors/stateful/app.py was written beside the source of exactly these."""
    assert version("faust-streaming") == "0.15.3"
    assert version("aiokafka") == "0.14.0"


def test_faust_still_commits_past_an_unfinished_message() -> None:
    """faust-streaming/faust#606: 2585 is committed, 2585 is unfinished, 2586… are acked → it would commit 2590.

    When this fails upstream has healed, and BatchConsumer._new_offset may be looked at again.
    """
    tp = TP("t", 0)
    consumer = SimpleNamespace(
        _acked=defaultdict(list, {tp: [2586, 2587, 2588, 2589]}),
        _acked_index=defaultdict(set, {tp: {2586, 2587, 2588, 2589}}),
        _gap=defaultdict(IntervalTree),
        _committed_offset={tp: 2585},
    )
    assert faust_consumer.Consumer._new_offset(consumer, tp) == 2590


def test_what_is_committed_is_what_the_stores_committed() -> None:
    """Whatever Faust has seen acked, the offset of a partition is its store's position, and none without a store."""
    tp = TP("t", 0)
    consumer: Any = SimpleNamespace(
        _acked=defaultdict(list, {tp: [40, 41]}),
        _acked_index=defaultdict(set, {tp: {40, 41}}),
        _lanes=SimpleNamespace(position=lambda topic, partition: {("t", 0): 17}.get((topic, partition))),
    )
    assert app.BatchConsumer._new_offset(consumer, tp) == 17
    assert app.BatchConsumer._new_offset(consumer, TP("t", 1)) is None
    assert consumer._acked[tp] == []


def test_the_overridden_methods_are_where_faust_calls_them() -> None:
    """Names and arguments that Faust's own code uses to reach our overrides."""
    assert list(inspect.signature(driver.Consumer._drain_messages).parameters) == ["self", "fetcher"]
    assert "await consumer._drain_messages(self)" in inspect.getsource(faust_consumer.Fetcher._fetcher.fun)
    assert "consumer.perform_seek()" in inspect.getsource(_recovery()._resume_streams)
    assert "self._new_offset(tp)" in inspect.getsource(driver.Consumer._filter_committable_offsets)
    assert "self._filter_tps_with_pending_acks(" in inspect.getsource(driver.Consumer.force_commit)
    assert "self._commit(" in inspect.getsource(driver.Consumer._commit_offsets)
    assert "self.verify_event_path(" in inspect.getsource(driver.Consumer.verify_all_partitions_active)


def test_faust_waits_a_second_for_tables_and_does_no_more_than_we_do_then() -> None:
    """Its start without the wait is ours."""
    source = inspect.getsource(TableManager.on_start)
    assert [line.strip() for line in source.splitlines()[2:]] == [
        "await self.sleep(1.0)",
        "if not self.should_stop:",
        "await self._update_channels()",
        "await self.recovery.start()",
    ]


def test_the_state_that_the_overrides_touch_is_there(built: Any) -> None:
    """Attributes of Faust's consumer that our loop reads or writes."""
    consumer = built.consumer
    assert isinstance(consumer, app.BatchConsumer)
    for name in ("_read_offset", "_committed_offset", "_acked", "_acked_index"):
        assert isinstance(getattr(consumer, name), dict), name
    for name in ("can_resume_flow", "suspend_flow", "_stopped"):
        assert hasattr(getattr(consumer, name), "wait"), name
    for name in ("_getmany", "seek_wait", "earliest_offsets", "wait_first", "_get_active_partitions"):
        assert inspect.iscoroutinefunction(getattr(consumer, name)) or callable(getattr(consumer, name)), name
    assert hasattr(built._crashed, "wait")


def test_aiokafka_is_told_to_read_committed(built: Any) -> None:
    """Faust asks for uncommitted records; the one attribute that changes it is still the one aiokafka reads."""
    asked: list[str] = []

    class Stub:
        _isolation_level = "read_uncommitted"

    thread = built.consumer._thread
    original = driver.AIOKafkaConsumerThread._create_worker_consumer
    driver.AIOKafkaConsumerThread._create_worker_consumer = lambda _self, _transport: Stub()
    try:
        asked.append(thread._create_worker_consumer(built.transport)._isolation_level)
    finally:
        driver.AIOKafkaConsumerThread._create_worker_consumer = original
    assert asked == ["read_committed"]
    assert "isolation_level=self._isolation_level" in inspect.getsource(AIOKafkaConsumer.start)


def test_aiokafka_is_told_when_to_go_on_behind_what_is_gone() -> None:
    """The one attribute that says so is read where Kafka has nothing at an offset, and where a group has none."""
    found = SimpleNamespace(_default_reset_strategy=fetcher.OffsetResetStrategy.EARLIEST)
    thread = SimpleNamespace(_ensure_consumer=lambda: SimpleNamespace(_fetcher=found))
    app.BatchConsumer._reset_to(SimpleNamespace(_thread=thread), fetcher.OffsetResetStrategy.NONE)  # type: ignore[arg-type]
    assert found._default_reset_strategy == fetcher.OffsetResetStrategy.NONE
    for method in (fetcher.Fetcher._proc_fetch_request, fetcher.Fetcher._update_fetch_positions):
        assert "if self._default_reset_strategy != OffsetResetStrategy.NONE:" in inspect.getsource(method)
    assert "err = Errors.OffsetOutOfRangeError({tp: fetch_offset})" in inspect.getsource(
        fetcher.Fetcher._proc_fetch_request
    )
    assert "res_or_error.check_raise()" in inspect.getsource(fetcher.Fetcher.fetched_records)


def test_aiokafka_s_position_passes_what_it_hands_to_nobody() -> None:
    """Markers and aborted records, when a fetch is taken: our stores' positions follow it, and timers wait for it."""
    assert "self._update_position()" in inspect.getsource(fetcher.FetchResult.getall)
    assert "state.consumed_to(self._partition_records.next_fetch_offset)" in inspect.getsource(
        fetcher.FetchResult._update_position
    )
    unpacked = inspect.getsource(fetcher.PartitionRecords._unpack_records)
    assert unpacked.count("self.next_fetch_offset = next_batch.next_offset") == 3


@pytest.mark.parametrize(("attributes", "whose"), [(0, "create"), (8, "append")])
def test_a_fetch_is_unpacked_into_our_records(attributes: int, whose: str) -> None:
    """From bytes as aiokafka writes them: where they stood, key, value and headers; the position follows each."""
    batch = _batch(range(3), "a")
    batch[ATTRIBUTES_AT] |= attributes  # whose the timestamps are
    unpacked = _unpacked(batch, 1)
    assert type(unpacked) is unpacking.Unpacked
    assert list(unpacked) == [Record("t", 4, offset, 1_000, b"k", None, (("a", b"1"),), whose) for offset in (1, 2)]
    assert unpacked.next_fetch_offset == 3
    assert "for msg in self._partition_records:" in inspect.getsource(fetcher.FetchResult.getall)
    assert "self._consumer_record(tp, record)" in inspect.getsource(fetcher.PartitionRecords._unpack_records)
    assert " PartitionRecords(" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    assert " MemoryRecords(" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)


@pytest.mark.parametrize("codec", [0, 1, 4], ids=["plain", "gzip", "zstd"])
def test_a_header_that_is_no_text_holds_up_nothing(codec: int) -> None:
    """Aborted records before and after it are left out as ever, nothing comes twice, and the position ends behind."""
    batches = [
        _batch(range(2), "aa", codec),
        _batch(range(2, 4), "aa", codec, producer=7),  # aborted
        _batch(range(4, 7), "aa", codec, strange=5),
        _batch(range(7, 9), "aa", codec, producer=7),  # aborted
        _batch(range(9, 10), "aa", codec),
    ]
    unpacked = _unpacked(b"".join(batches), 1, aborted=[(7, 2)])
    found = list(unpacked)
    assert [one.offset for one in found] == [1, 4, 5, 6, 9]
    assert [one.headers for one in found] == [((name, b"1"),) for name in ("aa", "aa", "\ufffd\ufffd", "aa", "aa")]
    assert unpacked.next_fetch_offset == 10


def test_a_record_whose_producer_wrote_no_time_has_none() -> None:
    """Kafka's own sign for that, -1, would be an age of half a century: admit refused it as stale."""
    (found,) = _unpacked(_batch(range(1), "a", stamp=-1), 0)
    assert found.timestamp_ms == 0


def _batch(
    offsets: range,
    header: str,
    codec: int = 0,
    *,
    producer: int = -1,
    strange: int | None = None,
    stamp: int = 1_000,
) -> bytearray:
    """As a producer writes it. strange: this record has a header whose name is no UTF-8."""
    written = DefaultRecordBatchBuilder(2, codec, producer >= 0, producer, 0, 0, 1 << 20)
    for number, offset in enumerate(offsets):
        name = _Strange(header) if offset == strange else header
        written.append(number, stamp, b"k", None if offset else b"v", [(name, b"1")])
    built = bytearray(written.build())
    built[:8] = offsets[0].to_bytes(8, "big")
    return built


def _unpacked(data: bytes | bytearray, first: int, aborted: list[tuple[int, int]] | None = None) -> Any:
    """A fetch of these bytes from there on, as aiokafka makes it."""
    records = fetcher.MemoryRecords(bytes(data))
    return fetcher.PartitionRecords(TP("t", 4), records, aborted, first, None, None, False, fetcher.READ_COMMITTED)


def test_settings_that_the_laws_need(built: Any) -> None:
    """Membership, assignment and bounds of every Faust stage."""
    conf = built.conf
    assert conf.id == PLAN.group
    assert conf.consumer_group_instance_id == f"{PLAN.group}.3"
    assert [str(url) for url in conf.broker] == ["kafka://127.0.0.1:1", "kafka://127.0.0.2:2"]
    assert conf.web_enabled is False
    assert conf.processing_guarantee.value == "at_least_once"
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.topic_allow_declare is False
    # Faust's own assignor keeps partitions of the same number together; it is used only while this stays above 0
    assert conf.table_standby_replicas >= 1
    source = inspect.getsource(driver.AIOKafkaConsumerThread._create_worker_consumer)
    assert "self.app.conf.table_standby_replicas > 0" in source


def test_every_faust_stage_reads_topics_of_one_family() -> None:
    """Inputs with the same number of partitions are assigned together; others could not share a store."""
    for stage in (ADMIT, PLAN):
        assert {topic.family for topic in stage.inputs} == {stage.family}


def _recovery() -> Any:
    from faust.tables.recovery import Recovery

    return Recovery


def test_a_member_that_comes_back_with_other_inputs_leaves_its_group(built: Any) -> None:
    """aiokafka leaves a group at its stop unless the member is static, and asks that at this place."""
    source = inspect.getsource(group_coordinator.GroupCoordinator._maybe_leave_group)
    assert "self._group_instance_id is None" in source
    assert "LeaveGroupRequest(self.group_id, self.member_id)" in source
    assert "_maybe_leave_group" in inspect.getsource(group_coordinator.GroupCoordinator.close)
    coordinator = SimpleNamespace(_group_instance_id="aios.admit.0")
    thread = SimpleNamespace(_ensure_consumer=lambda: SimpleNamespace(_coordinator=coordinator))
    app.BatchConsumer.leave_group(SimpleNamespace(_thread=thread))  # type: ignore[arg-type]
    assert coordinator._group_instance_id is None
    assert "_coordinator" in inspect.getsource(AIOKafkaConsumer)


def test_a_split_partition_is_read_by_nobody_while_members_come_over() -> None:
    """Where inputs may grow it waits, and after a while the member joins again; elsewhere it is a mistake."""

    async def check() -> None:
        again = asyncio.Event()
        grows, stays = Member.__new__(Member), Member.__new__(Member)
        for member, event in ((grows, again), (stays, None)):
            member._names, member._stage, member._mixed, member._again = frozenset({"a", "b"}), ADMIT, None, event
        whole = [TP("a", 0), TP("b", 0)]
        assert grows._whole(whole) == stays._whole(whole) == {0}
        assert grows._whole([*whole, TP("b", 1)]) == {0}
        assert grows._mixed is not None
        with pytest.raises(StateBroken):
            stays._whole([*whole, TP("b", 1)])
        assert grows._whole(whole) == {0}
        assert grows._mixed is None
        assert not again.is_set()

    asyncio.run(check())
