"""The index of dead letters in a real Valkey: order and repeats do not matter, pages are exact, tenants are apart."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_client import REGISTRY as METRICS
from redis import Redis

from aios.dlq import index as letter_index
from aios.dlq import index_layout as layout
from aios.dlq import show
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.entries import Ambiguous, Entry, Progress, Source, gathered
from aios.dlq.filters import Filter
from aios.dlq.index import LetterIndex, opened
from aios.dlq.index_layout import EPOCH, UNRESOLVED, Outcome, State
from aios.infra.local.valkey import Valkey
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason
from aios.schemas.models import DocumentReceived
from aios.sinks.epoch_store import Emptied, EpochStore, Write
from aios.sinks.letter_writes import meaning_of, sweep
from aios.sinks.letters import MARKS, OLD_SHARE, Ages
from aios.streams import outcome_layout, outcome_store
from aios.streams.durations import HOUR_MS
from aios.streams.errors import Unavailable
from aios.streams.record import Record
from aios.streams.topics import DOCUMENT_RECEIVED, LETTER_CHANGED, RETENTION_MS
from aios.streams.topology import ADMIT, LETTERS, PLAN
from aios.streams.wall_clock import wall_ms
from tests.broker.letter_records import change, changed, failed, letter, standing
from tests.broker.test_outcomes import dump
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.broker
NOW = wall_ms()
REGISTRY = FakeRegistry()
CODEC = Codec(REGISTRY)
T = TypeVar("T")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One of our own: these tests empty it."""
    valkey = Valkey(tmp_path_factory.mktemp("letters"))
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
def redis(server: Valkey) -> Iterator[Redis]:
    with Redis.from_url(server.url, decode_responses=True) as client:
        client.flushall()
        yield client


def keys(redis: Redis) -> dict[str, Any]:
    """Every key's content, sets too."""
    sets = {key: sorted(redis.smembers(key)) for key in redis.scan_iter(count=1000) if redis.type(key) == "set"}
    said = {key: value for key, value in dump(redis).items() if key not in (EPOCH, MARKS.rebuilding)}
    return said | sets


def writes(records: Sequence[Record]) -> list[Write]:
    return [write for record in records if (write := meaning_of(record, CODEC).write) is not None]


async def apply(server: Valkey, folder: Path, records: Sequence[Record]) -> None:
    store = EpochStore(server.url, folder / "epoch", MARKS)
    try:
        await store.ensure(lambda: (write for write in ()))
        await store.apply(writes(records))
    finally:
        await store.close()


def asked(server: Valkey, question: Callable[[LetterIndex], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with opened(server.url) as index:
            return await question(index)

    return asyncio.run(ask())


def brought(event: Any, offset: int) -> Record:
    out = changed(CODEC, event)
    return Record(LETTER_CHANGED.name, 3, offset, event.at, out.key, out.value, out.headers)


def a_life() -> tuple[list[Record], dict[str, State]]:
    """Letters that went every way there is, and how each ends. The changes of one id are in order of their offsets."""
    first = [standing(failed(number, at=NOW + number), number, NOW + number) for number in range(9)]
    one = [letter(record) for record in first]
    twice = standing(failed(0, at=NOW), 50, NOW + 50)
    again = standing(failed(4, generation=1, job="j1", at=NOW + 40), 51, NOW + 51)
    third = standing(failed(5, generation=1, job="j1", at=NOW + 41), 52, NOW + 52)
    often = [
        standing(failed(number, generation=2, reason=reason, at=NOW), 60 + number, NOW + 60)
        for number, reason in enumerate([Reason.EMPTY, Reason.EMPTY, Reason.PARKED], 10)
    ]
    held, freed, parked = (letter(record) for record in often)
    events = [
        change(one[1], "discarded", NOW + 20),
        change(one[2], "edited", NOW + 21, edit_hash_before="a", edit_hash_after="b"),
        change(one[3], "replayed", NOW + 22, job_id="j1", to="aios.plan.retry/0"),
        change(one[4], "replayed", NOW + 22, job_id="j1", to="aios.plan.retry/0"),
        change(one[5], "replayed", NOW + 22, job_id="j1", to="aios.plan.retry/0"),
        change(one[6], "skipped", NOW + 23, job_id="j1", reason="stale"),
        change(one[7], "quarantined", NOW + 23, job_id="j1", reason="third"),
        change(one[8], "discarded", NOW + 24),
        change(one[8], "open", NOW + 25),
        change(letter(third), "expired", NOW + 60),
        change(one[3], "skipped", NOW + 70, job_id="j1", reason="replayed"),
        change(replace(held, generation=1), "replayed", NOW + 59),
        change(freed, "open", NOW + 61),
    ]
    ends = {
        one[0].id: State.OPEN,
        one[1].id: State.DISCARDED,
        one[2].id: State.EDITED,
        one[3].id: State.REPLAYED,
        one[4].id: State.OPEN,
        one[5].id: State.EXPIRED,
        one[6].id: State.OPEN,
        one[7].id: State.QUARANTINED,
        one[8].id: State.OPEN,
        held.id: State.QUARANTINED,
        freed.id: State.OPEN,
        parked.id: State.OPEN,
    }
    return [*first, twice, again, third, *often, *(brought(event, 10 + n) for n, event in enumerate(events))], ends


def test_order_and_repeats_change_nothing(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Forty shuffles with every record once to three times leave exactly what reading in order leaves."""
    records, _ = a_life()
    asyncio.run(apply(server, tmp_path, records))
    expected = keys(redis)
    assert len(expected) > 30
    for seed in range(40):
        chance = random.Random(seed)
        shuffled = [record for record in records for _ in range(chance.randint(1, 3))]
        chance.shuffle(shuffled)
        redis.flushall()
        asyncio.run(apply(server, tmp_path, shuffled))
        assert keys(redis) == expected, f"seed {seed}"


def test_a_letter_is_in_the_state_that_its_records_tell(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Discarded, edited, replayed, failed again, quarantined, freed, restored, expired; a skip changes nothing."""
    records, ends = a_life()
    asyncio.run(apply(server, tmp_path, records))

    async def questions(index: LetterIndex) -> None:
        found = [one async for one in index.entries(Filter())]
        assert {one.letter.id: one.state for one in found} == ends
        waiting = [one async for one in index.entries(Filter(), states=UNRESOLVED)]
        assert {one.letter.id for one in waiting} == {name for name, state in ends.items() if state in UNRESOLVED}
        (again,) = [one for one in found if one.letter.generation == 1 and one.state is State.OPEN]
        assert again.changed is not None
        assert (again.letter.job, again.changed.state, again.changed.generation) == ("j1", "replayed", 0)
        (edited,) = [one async for one in index.entries(Filter(), states=[State.EDITED])]
        assert edited.changed is not None
        assert (edited.changed.edit_hash_after, edited.changed.by) == ("b", "op")
        for key in ("k1", "k4", "k6"):
            (of_key,) = (await index.page(Filter(key=key))).entries
            is_open = redis.smembers(outcome_layout.open_letters_key(key)) == {of_key.letter.id}
            assert is_open is (of_key.state in UNRESOLVED)

    asked(server, questions)


def test_a_job_knows_what_became_of_each_letter(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Replayed, failed again, skipped with its reason, and where each one went; once each."""
    records, _ = a_life()
    asyncio.run(apply(server, tmp_path, records))

    async def questions(index: LetterIndex) -> None:
        said = await index.job("j1")
        assert {outcome: count for outcome, count in said.counts.items() if count} == {
            Outcome.REPLAYED: 1,
            Outcome.FAILED_AGAIN: 2,
            Outcome.SKIPPED: 2,
        }
        assert said.by_reason == {"stale": 1, "quarantined": 1}
        (replayed,), cursor = await index.job_letters("j1", Outcome.REPLAYED)
        assert (replayed.to, replayed.at, cursor) == ("aios.plan.retry/0", NOW + 22, "")
        first, cursor = await index.job_letters("j1", Outcome.FAILED_AGAIN, limit=1)
        second, _ = await index.job_letters("j1", Outcome.FAILED_AGAIN, limit=1, cursor=cursor)
        assert {one.to for one in (*first, *second)} == {"aios.plan.dlq/0/51", "aios.plan.dlq/0/52"}
        assert not any((await index.job("another")).counts.values())

    asked(server, questions)


def many(count: int) -> list[Record]:
    """Of several groups, reasons, tenants and keys; many within one millisecond."""
    chance = random.Random(7)
    records = []
    for number in range(count):
        stage = chance.choice([PLAN, ADMIT])
        at = NOW + number // 40
        out = failed(
            number,
            stage=stage,
            reason=chance.choice([Reason.UNDECODABLE, Reason.EMPTY, Reason.OVERSIZE]),
            tenant=chance.choice(["demo", "other", "third"]),
            key=chance.choice(["", "", "shared"]),
            at=at,
        )
        records.append(standing(out, number, at))
    return records


def expected(records: Sequence[Record], wanted: Filter, tenants: Sequence[str] | None) -> list[DeadLetter]:
    letters = [letter(record) for record in records]
    meant = [one for one in letters if wanted.meets(one) and (tenants is None or one.tenant in tenants)]
    return sorted(meant, key=lambda one: (one.written_at, one.id), reverse=True)


def test_pages_counts_and_groups_are_those_of_a_scan(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Whatever is filtered and whoever asks: every letter once, newest first, across ties of a millisecond."""
    records = many(400)
    asyncio.run(apply(server, tmp_path, records))
    some = letter(records[3])
    filters = [
        Filter(),
        Filter(group=PLAN.group),
        Filter(reason="empty", group=ADMIT.group),
        Filter(tenant="other"),
        Filter(fingerprint=some.fingerprint),
        Filter(key="shared"),
        Filter(key="shared", tenant="third", reason="empty"),
        Filter(ids=(some.id, letter(records[9]).id)),
        Filter(since=NOW + 5, until=NOW + 9),
        Filter(until=NOW + 1, tenant="demo"),
        Filter(tenant="nobody"),
    ]

    async def questions(index: LetterIndex) -> None:
        for wanted in filters:
            for tenants in (None, ["demo"], ["other", "third"], []):
                right = expected(records, wanted, tenants)
                found: list[Entry] = []
                cursor, pages = "", 0
                while pages == 0 or cursor:
                    page = await index.page(wanted, tenants=tenants, limit=90, cursor=cursor)
                    found, cursor, pages = [*found, *page.entries], page.cursor, pages + 1
                assert [one.letter for one in found] == right, (wanted, tenants)
                assert await index.count(wanted, tenants=tenants) == len(right)
                assert await index.groups(wanted, tenants=tenants) == gathered(found)
                assert await index.count(wanted, tenants=tenants, states=[State.DISCARDED]) == 0

    asked(server, questions)


def test_an_id_is_found_by_its_beginning(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """If only one begins so; by nobody who may not see its tenant."""
    records = many(300)
    asyncio.run(apply(server, tmp_path, records))
    letters = {letter(record).id: letter(record) for record in records}
    beginnings = Counter(name[:3] for name in letters)

    async def questions(index: LetterIndex) -> None:
        for name, one in list(letters.items())[:40]:
            found = await index.get(name)
            assert found is not None
            assert found.letter == one
            assert await index.get(name, tenants=["nobody"]) is None
            if beginnings[name[:3]] > 1:
                with pytest.raises(Ambiguous, match=name[:3]):
                    await index.get(name[:3])
            else:
                assert await index.get(name[:3]) == found
        assert await index.get("nothing") is None

    asked(server, questions)


def test_a_scan_reads_records_only_where_the_expression_asks(
    server: Valkey, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over fields, headers and decoded values; says how far it is after each batch, what was unclear, what is gone."""
    texts = ["My IBAN", "my house", "IBAN please"]
    values = [CODEC.encode(DOCUMENT_RECEIVED, DocumentReceived(text=text)) for text in texts]
    outs = [failed(number, stage=ADMIT, value=value, at=NOW) for number, value in enumerate([*values, b"garbage"])]
    records = [standing(out, number, NOW + number) for number, out in enumerate(outs)]
    asyncio.run(apply(server, tmp_path, records))
    there = {(record.topic, record.partition, record.offset): record for record in records[1:]}
    fetched: list[Any] = []

    def fetch(places: Any) -> dict[Any, Record]:
        wanted = list(places)
        fetched.extend(wanted)
        return {place: there[place] for place in wanted if place in there}

    source = Source(fetch, show.Reader(REGISTRY).value)

    async def found(index: LetterIndex, expression: str) -> tuple[list[int], Progress]:
        said = [one async for one in index.scan(Filter(expression=expression), source)]
        progress = [one for one in said if isinstance(one, Progress)]
        return [one.letter.orig_offset for one in said if isinstance(one, Entry)], progress[-1]

    async def questions(index: LetterIndex) -> None:
        offsets, progress = await found(index, "letter.orig_offset >= 2")
        assert (offsets, fetched) == ([3, 2], [])
        assert progress == Progress(scanned=4, of=4, found=2, unclear=0, gone=0)
        offsets, progress = await found(index, 'value.text.contains("IBAN")')
        assert offsets == [2]
        assert progress == Progress(scanned=4, of=4, found=1, unclear=1, gone=1)
        assert len(fetched) == 4
        monkeypatch.setattr(letter_index, "SCAN_BATCH", 1)
        said = [one async for one in index.scan(Filter(expression="letter.orig_offset > 9"), source)]
        assert said == [Progress(read, 4, 0, 0, 0) for read in range(5)]

    asked(server, questions)


def test_an_emptied_index_takes_no_writes_and_says_so(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Until it is rebuilt: no write, and nobody hears that there are no dead letters."""
    records, _ = a_life()

    async def ask() -> None:
        store = EpochStore(server.url, tmp_path / "epoch", MARKS)
        try:
            await store.ensure(lambda: (write for write in writes(records)))
            before = keys(redis)
            redis.flushall()
            with pytest.raises(Emptied):
                await store.apply(writes(records)[:3])
            assert keys(redis) == {}
            async with opened(server.url) as index:
                some = letter(records[0]).id
                for question in (
                    index.page(Filter()),
                    index.page(Filter(key="k1")),
                    index.page(Filter(ids=(some,))),
                    index.count(Filter(tenant="demo")),
                    index.groups(Filter()),
                    index.get("0"),
                    index.job("j1"),
                    index.check(),
                ):
                    with pytest.raises(Unavailable):
                        await question
            await store.ensure(lambda: (write for write in writes(records)))
            assert keys(redis) == before
        finally:
            await store.close()

    asyncio.run(ask())


def test_a_full_disk_ends_nothing_and_forgets_no_epoch(
    server: Valkey, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was remembered stays whole, so that the next start takes the marker for another's and reads all again."""
    records, _ = a_life()
    remembered = tmp_path / "epoch"

    def full(path: Path, *_: object, **__: object) -> int:
        path.touch()
        os.truncate(path, 0)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def ensured() -> int:
        """How often everything was read."""
        reads = 0

        def everything() -> Iterator[Write]:
            nonlocal reads
            reads += 1
            yield from writes(records)

        store = EpochStore(server.url, remembered, MARKS)
        try:
            await store.ensure(everything)
            await store.apply(writes(records)[:3])
        finally:
            await store.close()
        return reads

    assert [asyncio.run(ensured()) for _ in range(2)] == [1, 0]
    redis.flushall()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        assert asyncio.run(ensured()) == 1
    assert [asyncio.run(ensured()) for _ in range(2)] == [1, 0]


def test_what_is_older_than_the_window_is_swept(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """Not counted before, and gone from every list after; what is younger stays as it is."""
    old = [standing(failed(n, at=NOW - RETENTION_MS - 1000), n, NOW - RETENTION_MS - 1000 + n) for n in range(30)]
    young = [standing(failed(n, at=NOW), n, NOW) for n in range(30, 40)]
    asyncio.run(apply(server, tmp_path, young))
    expected = keys(redis)
    redis.flushall()

    async def ask() -> None:
        store = EpochStore(server.url, tmp_path / "other", MARKS)
        try:
            await store.ensure(lambda: (write for write in writes([*old, *young])))
            async with opened(server.url) as index:
                assert await index.count(Filter()) == 10
            await store.apply([sweep(NOW)])
        finally:
            await store.close()

    asyncio.run(ask())
    assert keys(redis) == expected


def test_an_unresolved_letter_older_than_the_window_waits_no_longer(
    server: Valkey, redis: Redis, tmp_path: Path
) -> None:
    """Though it was edited since, which keeps what it says; one that failed again within the window waits on."""
    at = NOW - RETENTION_MS + HOUR_MS
    old = standing(failed(1, at=at), 1, at)
    again = standing(failed(2, at=at), 2, NOW)
    edited = brought(change(letter(old), "edited", NOW, edit_hash_before="a", edit_hash_after="b"), 1)

    async def ask() -> None:
        store = EpochStore(server.url, tmp_path / "epoch", MARKS)
        try:
            await store.ensure(lambda: (write for write in writes([old, again, edited])))
            await store.apply([sweep(NOW + 2 * HOUR_MS)])
        finally:
            await store.close()

    asyncio.run(ask())
    waiting = [one.partition(":")[2] for one in redis.zrange(layout.waiting_key(PLAN.group), 0, -1)]
    assert waiting == [letter(again).id]


def test_an_old_letter_is_measured_and_said_once(
    server: Valkey, redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From half of the retention on, by group and by when its record first stood; a discarded one does not count."""
    at = NOW - int(RETENTION_MS * 0.6)
    old = [standing(failed(n, at=at), n, NOW - n) for n in range(2)]  # they failed again
    given_up = standing(failed(2, at=at - 1), 2, at)
    records = [*old, given_up, brought(change(letter(given_up), "discarded", NOW), 1)]
    asyncio.run(apply(server, tmp_path, [*records, standing(failed(5, stage=ADMIT, at=NOW), 5, NOW)]))

    async def look(index: LetterIndex) -> None:
        ages = Ages(index)
        assert ages.due
        await ages.look(NOW)
        await ages.look(NOW)
        assert not ages.due
        assert ages.old == {PLAN.group}

    asked(server, look)
    (said,) = [record.getMessage() for record in caplog.records if "the oldest record" in record.getMessage()]
    assert "aios.plan: 2 wait, the oldest record is 18 days old, and after 30 none returns" in said
    share = METRICS.get_sample_value("aios_dead_letter_oldest_share", {"group": PLAN.group})
    assert share is not None
    assert OLD_SHARE < share < 0.61
    assert METRICS.get_sample_value("aios_dead_letters_waiting", {"group": ADMIT.group}) == 1


def test_a_dead_letter_that_came_back_to_this_stage_is_no_new_one() -> None:
    """An operator replays a dead letter of the index's own stage: what it was about stands in the topics already."""
    out = failed(1, at=NOW)
    own = [("aios.dlq.orig.topic", b"aios.plan.dlq"), ("aios.dlq.orig.partition", b"0"), ("aios.dlq.orig.offset", b"1")]
    own.append(("aios.dlq.orig.timestamp", b"1"))
    returned = Record(LETTERS.retries.name, 0, 1, NOW, out.key, out.value, own)
    assert meaning_of(returned, CODEC).write is None


def test_a_case_shows_the_letters_that_wait(server: Valkey, redis: Redis, tmp_path: Path) -> None:
    """As long as they do; `aios case find` sees them in every state, and never takes an emptied index for an answer."""
    stood = [standing(failed(number, key="case-1", at=NOW + number), number, NOW + number) for number in range(3)]
    done = change(letter(stood[0]), "discarded", NOW + 9)
    asyncio.run(apply(server, tmp_path, [*stood, brought(done, 1)]))
    redis.hset(outcome_layout.case_key("case-1"), mapping={"tenant": "demo", "workflow": "w", "status": "classifying"})
    redis.set(outcome_layout.EPOCH, "x")

    async def ask() -> None:
        async with outcome_store.opened(server.url) as store:
            view = await store.status("case-1", "demo")
            assert view is not None
            assert set(view.dead_letters) == {letter(record).id for record in stood[1:]}
            found = await store.dead_letters("case-1", "demo")
            assert [one["orig_offset"] for one in found] == [2, 1, 0]
            assert [one["state"] for one in found] == ["open", "open", "discarded"]
            assert await store.dead_letters("case-1", "other") == []
            redis.delete(EPOCH)
            with pytest.raises(Unavailable):
                await store.dead_letters("case-1", "demo")

    asyncio.run(ask())
