"""The letters sink as a process on a real broker: killed, emptied, fed with garbage; index and archive are right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fastavro import reader
from redis import Redis

from aios.dlq.dead_letter import DeadLetter
from aios.dlq.entries import Entry
from aios.dlq.filters import Filter
from aios.dlq.index import LetterIndex, opened
from aios.dlq.index_layout import UNRESOLVED, State
from aios.infra.local.valkey import Valkey
from aios.schemas.codec import Codec
from aios.sinks.lake import lake_folder
from aios.sinks.letter_archive import FOLDER
from aios.streams import topology
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.kafka import ensure_topics, read_all
from aios.streams.topics import LETTER_CHANGED
from aios.streams.topology import LETTERS, PLAN
from aios.streams.wall_clock import wall_ms
from tests.broker.letter_records import change, changed, failed, letter
from tests.broker.running import forget
from tests.broker.test_sinks import Sink, deliver, garbage, until

pytestmark = pytest.mark.broker
T = TypeVar("T")


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


@pytest.fixture
def sink(tmp_path: Path, kafka: KafkaSettings, registry_url: str, valkey: Valkey) -> Sink:
    """Begins at the beginning, with a home of its own."""
    forget(kafka, LETTERS.group)
    home = tmp_path / "home"
    home.mkdir()
    addresses = {
        "AIOS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "AIOS_REGISTRY__URL": registry_url,
        "AIOS_REDIS__URL": valkey.url,
    }
    return Sink(LETTERS, home, addresses)


def asked(valkey: Valkey, question: Callable[[LetterIndex], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with opened(valkey.url) as index:
            return await question(index)

    return asyncio.run(ask())


def states(valkey: Valkey, tenant: str) -> dict[str, State]:
    """Of this test's letters, by key; empty while the index is not there."""

    async def all_of_them(index: LetterIndex) -> list[Entry]:
        return [one async for one in index.entries(Filter(tenant=tenant))]

    try:
        return {one.letter.key: one.state for one in asked(valkey, all_of_them)}
    except Unavailable:
        return {}


def written(kafka: KafkaSettings, tenant: str, count: int) -> dict[str, DeadLetter]:
    """So many dead letters of plan in Kafka, by key, in the order of their numbers."""
    outs = [
        failed(n, tenant=tenant, cluster=tenant, key=f"{tenant}-{n}", at=wall_ms(), partition=n % 6)
        for n in range(count)
    ]
    deliver(kafka, outs)
    found = {one.key: one for one in map(letter, read_all(kafka, PLAN.dead_letters.name)) if one.tenant == tenant}
    return {key: found[key] for key in (f"{tenant}-{n}" for n in range(count))}


def give_up(kafka: KafkaSettings, codec: Codec, letters: list[DeadLetter], state: str) -> None:
    deliver(kafka, [changed(codec, change(one, state, wall_ms(), reason="not worth it")) for one in letters])


def archived(sink: Sink, tenant: str) -> list[dict[str, Any]]:
    """Read as the archive's own page says."""
    paths = (lake_folder(sink.home) / FOLDER).glob("*/*.avro")
    rows: list[Any] = [row for path in paths for row in reader(BytesIO(path.read_bytes()))]
    return [row for row in rows if row["tenant"] == tenant]


def test_killed_at_every_step_the_archive_holds_each_once(
    kafka: KafkaSettings, codec: Codec, valkey: Valkey, sink: Sink, unique: str
) -> None:
    """Before a file has its name, after everything rests, with offsets committed: whole bytes, one row a letter."""
    letters = written(kafka, unique, 40)
    gone = [letters[f"{unique}-{n}"] for n in range(30)]
    give_up(kafka, codec, gone[:20], "discarded")
    sink.dies("letters.unfinished=kill@1")
    assert archived(sink, unique) == []
    give_up(kafka, codec, gone[20:], "expired")
    for failpoint in ("letters.computed=kill@1", "letters.committed=kill@1"):
        sink.dies(failpoint)
    with sink.process():
        give_up(kafka, codec, [letters[f"{unique}-30"]], "quarantined")  # behind all the others
        until(lambda: Counter(states(valkey, unique).values())[State.QUARANTINED] == 1)
        until(lambda: len(archived(sink, unique)) >= 30)
    rows = archived(sink, unique)
    assert sorted(row["letter_id"] for row in rows) == sorted(one.id for one in gone)
    assert Counter(row["state"] for row in rows) == {"discarded": 20, "expired": 10}
    for row in rows:
        one = next(each for each in gone if each.id == row["letter_id"])
        assert (row["key"], row["value"], row["found"]) == (one.key.encode(), b"\x07 no Avro", True)
        assert (row["reason"], row["why"], row["by"]) == ("undecodable", "not worth it", "op")
        assert row["place"] == "/".join(map(str, one.place))
        assert {"name": "aios-tenant", "value": unique.encode()} in row["headers"]
    found = Counter(states(valkey, unique).values())
    assert found == {State.OPEN: 9, State.QUARANTINED: 1, State.DISCARDED: 20, State.EXPIRED: 10}


def bad(valkey: Valkey, key: str) -> list[Entry]:
    """Dead letters of this stage with that key that wait; none while the index is not there."""

    async def own(index: LetterIndex) -> list[Entry]:
        return (await index.page(Filter(group=LETTERS.group, key=key), states=UNRESOLVED)).entries

    try:
        return asked(valkey, own)
    except Unavailable:
        return []


def test_an_emptied_valkey_is_filled_again(
    kafka: KafkaSettings, codec: Codec, valkey: Valkey, sink: Sink, unique: str
) -> None:
    """Emptied while it runs and stopped while it writes: all of it is there again, with what came meanwhile.

    A change that nobody can read is a dead letter of this stage, listed once like any other; the rest goes on.
    """
    letters = written(kafka, unique, 30)
    deliver(kafka, [garbage(LETTER_CHANGED.name, f"{unique}-bad")])
    with sink.process():
        until(lambda: len(states(valkey, unique)) == 30)
        give_up(kafka, codec, list(letters.values())[:10], "discarded")
        until(lambda: list(states(valkey, unique).values()).count(State.DISCARDED) == 10)
        (one,) = until(lambda: bad(valkey, f"{unique}-bad"))
        assert one.letter.reason == "undecodable"
        with Redis.from_url(valkey.url) as redis:
            redis.flushall()
        more = written(kafka, unique, 35)
        until(lambda: len(states(valkey, unique)) == 35)
        assert list(states(valkey, unique).values()).count(State.DISCARDED) == 10
        valkey.stop()
        give_up(kafka, codec, list(more.values())[10:12], "discarded")
        valkey.start()
        until(lambda: list(states(valkey, unique).values()).count(State.DISCARDED) == 12)
        assert len(bad(valkey, f"{unique}-bad")) == 1
    assert len(archived(sink, unique)) == 12
    keys = [record.key for record in read_all(kafka, LETTERS.dead_letters.name)]
    assert keys.count(f"{unique}-bad".encode()) == 1
    assert "dead letters" in sink.log()
