"""The sinks as processes on a real broker: killed where it hurts, emptied, cut off; nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from aios.infra.local.valkey import Valkey
from aios.schemas.codec import Codec
from aios.sinks import audit_chain, lake_query
from aios.sinks.audit import chain_folder, check_witness, head_file
from aios.sinks.audit_chain import Chain
from aios.sinks.audit_verify import verify
from aios.sinks.lake import lake_folder
from aios.sinks.outcomes import EPOCH
from aios.streams import outcome_layout, outcome_store, topology
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import StateBroken, Unavailable
from aios.streams.kafka import Delivery, Place, cluster_id, ensure_topics, read_all
from aios.streams.record import Outgoing
from aios.streams.topology import AUDIT, LAKE, OUTCOMES, Stage
from aios.streams.wall_clock import wall_ms
from tests.broker import outcome_records as records
from tests.broker.running import begin_at, forget
from tests.broker.test_outcomes import dump

pytestmark = pytest.mark.broker
WAIT_S_MAX = 40.0
KILLED = -signal.SIGKILL
LEFT = 70  # exit status: it cannot go on, its records are untouched


@pytest.fixture(scope="module", autouse=True)
def _topics(kafka: KafkaSettings) -> None:
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """One to empty and to stop."""
    server = Valkey(tmp_path / "valkey")
    server.start()
    yield server
    server.stop()


class Sink:
    """Real processes of one sink, one after the other, on one home."""

    def __init__(self, stage: Stage, home: Path, environment: dict[str, str]) -> None:
        self._stage = stage
        self.home = home
        self._environment = {**os.environ, **environment, "AIOS_HOME": str(home), "PYTHONSAFEPATH": "1"}

    @contextmanager
    def process(self, failpoints: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """Asked to stop at the end, if it still runs. Its log is printed, for when a test fails."""
        with (self.home / "log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "aios.infra.stage", self._stage.process, "--slot", "0"],
                env={**self._environment, "AIOS_FAILPOINTS": failpoints},
                stderr=log,
            )
        try:
            yield child
            if child.poll() is None:
                child.terminate()
                assert child.wait(WAIT_S_MAX) == 0
        finally:
            child.kill()
            child.wait()
            print(self.log())

    def dies(self, failpoints: str) -> None:
        """One process, ended by SIGKILL there."""
        with self.process(failpoints) as child:
            assert child.wait(WAIT_S_MAX) == KILLED

    def log(self) -> str:
        return (self.home / "log").read_text(encoding="utf-8")


@pytest.fixture
def sink(tmp_path: Path, kafka: KafkaSettings, registry_url: str) -> Callable[..., Sink]:
    """Of a stage; audit and lake begin at the beginning, as their homes do (outcomes does by itself)."""

    def make(stage: Stage, valkey_url: str = "", **settings: str) -> Sink:
        if stage is not OUTCOMES:
            forget(kafka, stage.group)
        home = tmp_path / "home"
        home.mkdir()
        addresses = {
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": registry_url,
            "AIOS_REDIS__URL": valkey_url or "redis://127.0.0.1:1/0",
        }
        return Sink(stage, home, addresses | settings)

    return make


def until(true: Callable[[], Any], *, every_s: float = 0.05) -> Any:
    """What it says once it is true; fails after a bound."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not (said := true()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(every_s)
    return said


def deliver(kafka: KafkaSettings, outs: Sequence[Outgoing]) -> list[Place]:
    async def all_of_them() -> list[Place]:
        delivery = Delivery(kafka, client_id="test")
        try:
            return await delivery.deliver_all(outs)
        finally:
            delivery.close()

    return asyncio.run(all_of_them())


def overtake(kafka: KafkaSettings, stage: Stage, outs: Sequence[Outgoing]) -> TopicPartition:
    """Records of one key; the stage's group comes to the first, and the first two are deleted. Where it begins now."""
    first, *_ = deliver(kafka, outs)
    begin_at(kafka, stage.group, [TopicPartition(first.topic, first.partition, first.offset)])
    left = TopicPartition(first.topic, first.partition, first.offset + 2)
    admin = AdminClient(client(kafka, log_level=0))
    (deleted,) = admin.delete_records([left]).values()
    deleted.result(WAIT_S_MAX)
    return left


def garbage(topic: str, key: str) -> Outgoing:
    return Outgoing(topic, key.encode(), b"\x07 not Avro")


def dead_keys(kafka: KafkaSettings, stage: Stage) -> list[str]:
    return [(record.key or b"").decode() for record in read_all(kafka, stage.dead_letters.name)]


def is_decided(url: str, case_id: str) -> bool:
    try:
        view = outcome_store.ask(url, lambda store: store.status(case_id, None))
    except Unavailable:
        return False
    return view is not None and view.status == "decided" and view.case_seq == 4


def own(dumped: dict[str, Any], unique: str) -> dict[str, Any]:
    """Of everything in Valkey, what is this test's: other tests of this broker decide before they ask."""
    found: dict[str, Any] = {}
    for key, value in dumped.items():
        kept = [each for each in value if unique in each[0]] if isinstance(value, list) else value
        if unique in key or (isinstance(value, list) and kept):
            found[key] = kept
    return found


def test_an_emptied_valkey_is_filled_as_it_was(
    sink: Callable[..., Sink], kafka: KafkaSettings, codec: Codec, valkey: Valkey, unique: str
) -> None:
    """Killed while it fills, flushed while it runs: the same keys with the same contents; a bad record beside it."""
    cases = [f"{unique}-{number}" for number in range(20)]
    events = [event for case in cases[:-1] for event in records.straight(case, wall_ms())]
    events += records.waiting(cases[-1], wall_ms())
    events += [records.refused(f"{unique}-never", f"{unique}-event", wall_ms())]
    deliver(kafka, [*(records.outgoing(codec, event) for event in events), records.dead(unique, wall_ms(), 3)])
    outcomes = sink(OUTCOMES, valkey.url)
    outcomes.dies("outcomes.rebuilding=kill@1")
    with outcomes.process(), Redis.from_url(valkey.url, decode_responses=True) as redis:
        until(lambda: redis.exists(EPOCH))
        until(lambda: is_decided(valkey.url, cases[0]))
        deliver(kafka, [garbage("case.decided.v1", f"{unique}-bad")])
        until(lambda: f"{unique}-bad" in dead_keys(kafka, OUTCOMES))
        deliver(kafka, [records.outgoing(codec, event) for event in records.straight(f"{unique}-late", wall_ms())])
        late = outcome_layout.case_key(f"{unique}-late")
        until(lambda: redis.hget(late, "seq") == "4" and redis.hexists(late, "decision"))
        before = own(dump(redis), unique)
        assert f"aios:case:{cases[-1]}" in before
        assert "aios:reviews:demo" in before
        redis.flushall()
        until(lambda: redis.exists(EPOCH))
        assert own(dump(redis), unique) == before
        redis.delete(EPOCH)  # noticed without any record coming
        until(lambda: redis.exists(EPOCH))
        assert own(dump(redis), unique) == before


def test_a_valkey_that_is_away_dead_letters_nothing(
    sink: Callable[..., Sink], kafka: KafkaSettings, codec: Codec, valkey: Valkey, unique: str
) -> None:
    """Records wait, and are there when it is back."""
    outcomes = sink(OUTCOMES, valkey.url)
    with outcomes.process():
        deliver(kafka, [records.outgoing(codec, event) for event in records.straight(f"{unique}-1", wall_ms())])
        until(lambda: is_decided(valkey.url, f"{unique}-1"))
        valkey.stop()
        deliver(kafka, [records.outgoing(codec, event) for event in records.straight(f"{unique}-2", wall_ms())])
        until(lambda: "outcomes waits" in outcomes.log())
        valkey.start()
        until(lambda: is_decided(valkey.url, f"{unique}-2"))
        assert not [key for key in dead_keys(kafka, OUTCOMES) if key.startswith(unique)]


def test_a_killed_audit_writer_chains_every_record_once(
    sink: Callable[..., Sink], kafka: KafkaSettings, codec: Codec, unique: str
) -> None:
    """Killed in the middle of a line, and before its offsets moved; then its end is cut, and it refuses to go on."""
    cases = [f"{unique}-{number}" for number in range(30)]
    audit = sink(AUDIT)
    folder = chain_folder(audit.home)

    def chained() -> Counter[str]:
        return Counter(line.record["event"]["audit_id"] for case in cases for line in audit_chain.of_case(folder, case))

    def round_of(some: Sequence[str]) -> None:
        events = [event for case in some for event in records.straight(case, wall_ms())[:4]]
        deliver(kafka, [records.outgoing(codec, event) for event in events])

    round_of(cases[:10])
    audit.dies("audit.half_written=kill@2")
    round_of(cases[10:20])
    audit.dies("audit.computed=kill@1")
    deliver(kafka, [garbage("audit.recorded.v1", f"{unique}-bad")])
    round_of(cases[20:])
    with audit.process():
        until(lambda: len(chained()) == 4 * len(cases))
        until(lambda: f"{unique}-bad" in dead_keys(kafka, AUDIT))
    assert set(chained().values()) == {1}
    report = verify(folder, audit_chain.read_head(head_file(audit.home)))
    assert report.sound, report.problems
    assert report.head == report.anchor
    text = b"".join(path.read_bytes() for path in audit_chain.files(folder)).decode()
    assert '"kind":"not_understood","place":' in text

    last = audit_chain.files(folder)[-1]
    last.write_bytes(b"".join(last.read_bytes().splitlines(keepends=True)[:-1]))
    head_file(audit.home).unlink()  # the head outside is gone too: Kafka remembers how far the chain was
    chain = Chain(folder, head_file(audit.home), cluster_id(kafka))
    chain.open()
    try:
        with pytest.raises(StateBroken, match="its end is lost"):
            check_witness(kafka, chain.positions)
    finally:
        chain.close()


def test_a_killed_lake_holds_every_record_once(
    sink: Callable[..., Sink], kafka: KafkaSettings, codec: Codec, unique: str
) -> None:
    """Killed between two files, and before its offsets moved: each row stands in one file."""
    cases = [f"{unique}-{number}" for number in range(40)]
    lake = sink(LAKE, AIOS_LAKE__FLUSH_S_MAX="0.5")

    def rows() -> Counter[str]:
        paths = (lake_folder(lake.home) / "case.decided.v1").glob("date=*/*.parquet")
        found = Counter(
            row["case_id"] for path in paths for row in pq.read_table(path, columns=["case_id"]).to_pylist()
        )
        return Counter({case: count for case, count in found.items() if case.startswith(unique)})

    def round_of(some: Sequence[str]) -> None:
        deliver(kafka, [records.outgoing(codec, records.decided(case, 4, wall_ms())) for case in some])

    round_of(cases[:20])
    lake.dies("lake.unfinished=kill@3")
    lake.dies("lake.computed=kill@2")
    round_of(cases[20:])
    deliver(kafka, [garbage("case.decided.v1", f"{unique}-bad"), records.dead(unique, wall_ms(), 9)])
    with lake.process():
        until(lambda: len(rows()) == len(cases))
        until(lambda: f"{unique}-bad" in dead_keys(kafka, LAKE))
    assert set(rows().values()) == {1}
    asked = lake_query.ask(lake_folder(lake.home), f"select count(*) from case_decided where case_id like '{unique}%'")
    assert asked.rows == [(len(cases),)]
    assert not list(lake_folder(lake.home).rglob("*.tmp"))
    dead = lake_query.ask(lake_folder(lake.home), "select count(*) from dead_letters where stage = 'admit'")
    assert dead.rows[0][0] >= 1


def test_a_lake_goes_on_behind_what_was_deleted_unread_and_says_so(
    sink: Callable[..., Sink], kafka: KafkaSettings, codec: Codec, unique: str
) -> None:
    """Two of five are gone: an error with their place and number; the three behind them are rows."""
    lake = sink(LAKE, AIOS_LAKE__FLUSH_S_MAX="0.5")
    events = [records.decided(unique, seq, wall_ms()) for seq in range(5)]
    left = overtake(kafka, LAKE, [records.outgoing(codec, event) for event in events])

    def rows() -> int:
        paths = (lake_folder(lake.home) / left.topic).glob("date=*/*.parquet")
        return sum(pq.read_table(path, columns=["case_id"]).to_pylist().count({"case_id": unique}) for path in paths)

    with lake.process():
        until(lambda: rows() == 3)
    (said,) = [line for line in lake.log().splitlines() if "were deleted before" in line]
    assert f"{left.topic}[{left.partition}] (2) were deleted before {LAKE.group} read them" in said
    assert f"it goes on at offset {left.offset}" in said


def test_an_audit_chain_waits_for_a_persons_word_before_a_hole(
    sink: Callable[..., Sink], kafka: KafkaSettings, codec: Codec, unique: str
) -> None:
    """It leaves, chains nothing, and names the command; its position set to the beginning, it chains what is left."""
    audit = sink(AUDIT)
    events = [records.audit(unique, seq, "requested", "classifying", wall_ms()) for seq in range(5)]
    left = overtake(kafka, AUDIT, [records.outgoing(codec, event) for event in events])

    def chained() -> list[int]:
        lines = audit_chain.of_case(chain_folder(audit.home), unique)
        return [line.record["event"]["case_seq"] for line in lines]

    with audit.process() as child:
        assert child.wait(WAIT_S_MAX) == LEFT
    assert f"--group {AUDIT.group} --topic {left.topic}:{left.partition} --reset-offsets --to-earliest" in audit.log()
    assert chained() == []
    begin_at(kafka, AUDIT.group, [left])
    with audit.process():
        until(lambda: chained() == [2, 3, 4])
