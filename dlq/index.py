"""Every dead letter as it is now, for those who ask: the reading side of dlq/index_layout.py.

Enters: a filter (dlq/filters.py), an id or the beginning of one, a replay job. Leaves: entries, counts, groups and a
job's outcomes, as sinks/letters.py put them there. Guaranteed: lists, counts and groups take time by what they return
and by how many kinds of failure there are, not by how many dead letters; a page begins exactly behind the one before,
whatever came meanwhile; whoever may see some tenants only is shown nothing of others, not even in counts. Everything
here can be rebuilt from the topics and is forgotten after topics.RETENTION_HOURS. Valkey away, or emptied and not yet
rebuilt: Unavailable, never "not found".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from redis.exceptions import RedisError

from aios.dlq.dead_letter import GROUPS, DeadLetter
from aios.dlq.entries import (
    Ambiguous,
    Entry,
    Group,
    JobCounts,
    Kind,
    LetterOutcome,
    Page,
    Progress,
    Source,
    add,
    entry,
    gathered,
    ordered,
)
from aios.dlq.filters import Filter
from aios.dlq.index_layout import (
    EPOCH,
    IDS,
    KINDS,
    Outcome,
    State,
    job_counts_key,
    job_key,
    job_list_key,
    list_key,
    member,
    tenant_kinds_key,
    tenant_list_key,
    waiting_key,
)
from aios.dlq.index_scripts import COUNT, ENDS, NEWEST
from aios.streams import outcome_store
from aios.streams.errors import Unavailable
from aios.streams.outcome_layout import letter_key, letters_key
from aios.streams.record import Record
from aios.streams.topics import RETENTION_MS
from aios.streams.wall_clock import wall_ms

CONNECTIONS_MAX = 16
LISTED_MAX = 1_000  # entries of one page
KINDS_MAX = 10_000  # lists that one question looks at
CANDIDATES_MAX = 10  # ids that begin the same, when one is asked for
SCAN_BATCH = 1_000  # entries whose records are read at once


class LetterIndex:
    """The reading side; one per process and event loop. Every method raises Unavailable when Valkey does not answer.

    states: which are wanted, empty for all. tenants: whose letters the caller may see, None for all.
    """

    def __init__(self, url: str, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._redis = outcome_store.connect(url, connections_max=connections_max)

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def check(self) -> None:
        """Raises Unavailable unless Valkey answers and holds everything."""
        _there((await self._ask(("get", EPOCH)))[0])

    async def page(
        self,
        wanted: Filter,
        *,
        states: Collection[State] = (),
        tenants: Collection[str] | None = None,
        limit: int = 50,
        cursor: str = "",
    ) -> Page:
        """Newest first; the filter's expression is left to scan(). limit: at most LISTED_MAX. cursor: of a page."""
        limit = min(max(limit, 0), LISTED_MAX)
        upper = f"({cursor}" if cursor else _upper(wanted)
        found = await self._members(wanted, states, tenants, upper, limit)
        entries = await self._entries([one.split(":", 1)[1] for one in found])
        meant = [one for one in entries if _meets(one, wanted, states, tenants)]
        return Page(meant, found[-1] if found and len(found) >= limit else "")

    async def count(
        self, wanted: Filter, *, states: Collection[State] = (), tenants: Collection[str] | None = None
    ) -> int:
        """How many page() would give in all its pages."""
        if wanted.key or wanted.ids:
            return sum([1 async for _ in self.entries(wanted, states=states, tenants=tenants)])
        lists = await self._lists(wanted, states, tenants)
        if not lists:
            return 0
        keys = [key for key, _ in lists]
        return int((await self._ask(("eval", COUNT, len(keys), *keys, _lower(wanted), _upper(wanted))))[0])

    async def groups(
        self, wanted: Filter, *, states: Collection[State] = (), tenants: Collection[str] | None = None
    ) -> list[Group]:
        """By group, reason and fingerprint; the most frequent first."""
        if wanted.key or wanted.ids:
            return gathered([one async for one in self.entries(wanted, states=states, tenants=tenants)])
        lists = await self._lists(wanted, states, tenants)
        if not lists:
            return []
        keys = [key for key, _ in lists]
        said = (await self._ask(("eval", ENDS, len(keys), *keys, _lower(wanted), _upper(wanted))))[0]
        found: dict[Kind, Group] = {}
        for (_, kind), (count, oldest, newest) in zip(lists, said, strict=True):
            if count:
                add(found, kind[1:], int(count), oldest, newest)
        return ordered(found)

    async def get(self, letter_id: str, *, tenants: Collection[str] | None = None) -> Entry | None:
        """By its id or the beginning of one; None if there is none. Raises Ambiguous."""
        ids, epoch = await self._ask(
            ("zrange", IDS, f"[{letter_id}", f"[{letter_id}\xff", "bylex", "limit", 0, CANDIDATES_MAX), ("get", EPOCH)
        )
        _there(epoch)
        entries = [one for one in await self._entries(ids) if tenants is None or one.letter.tenant in tenants]
        exact = [one for one in entries if one.letter.id == letter_id]
        if not entries:
            return None
        if len(entries) > 1 and not exact:
            raise Ambiguous(f"several begin so: {', '.join(one.letter.id for one in entries)}")
        return (exact or entries)[0]

    async def entries(
        self, wanted: Filter, *, states: Collection[State] = (), tenants: Collection[str] | None = None
    ) -> AsyncIterator[Entry]:
        """Every entry that page() would give, newest first."""
        cursor = ""
        while True:
            page = await self.page(wanted, states=states, tenants=tenants, limit=LISTED_MAX, cursor=cursor)
            for one in page.entries:
                yield one
            if not page.cursor:
                return
            cursor = page.cursor

    async def scan(
        self,
        wanted: Filter,
        source: Source,
        *,
        states: Collection[State] = (),
        tenants: Collection[str] | None = None,
    ) -> AsyncIterator[Entry | Progress]:
        """Entries for which the filter holds with its expression, newest first; reads records where it asks for them.

        Before the first batch how many there are to read, and of every batch how far it is, before what it found.
        """
        scanned = found = unclear = gone = 0
        of = await self.count(wanted.indexed, states=states, tenants=tenants)
        yield Progress(0, of, 0, 0, 0)
        async for batch in _batches(self.entries(wanted.indexed, states=states, tenants=tenants)):
            answers = await asyncio.to_thread(_answers, wanted, batch, source)
            held = [one for one, said in zip(batch, answers, strict=True) if said.holds]
            found += len(held)
            unclear += sum(said.holds is None for said in answers)
            gone += sum(said.gone for said in answers)
            scanned += len(batch)
            yield Progress(scanned, max(of, scanned), found, unclear, gone)
            for one in held:
                yield one

    async def job(self, job_id: str) -> JobCounts:
        """What a job has done so far; zeros for one that nobody knows."""
        said, epoch = await self._ask(("hgetall", job_counts_key(job_id)), ("get", EPOCH))
        _there(epoch)
        counts: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        reasons: dict[str, int] = {}
        for name, count in said.items():
            outcome, reason = json.loads(name)
            counts[Outcome(outcome)] += int(count)
            if reason:
                reasons[reason] = int(count)
        return JobCounts(counts, reasons)

    async def job_letters(
        self, job_id: str, outcome: Outcome, *, limit: int = 50, cursor: str = ""
    ) -> tuple[list[LetterOutcome], str]:
        """A page of what a job did so, by letter id, and the cursor of the next. limit: at most LISTED_MAX."""
        limit = min(max(limit, 0), LISTED_MAX)
        lower = f"({cursor}" if cursor else "-"
        (found,) = await self._ask(("zrange", job_list_key(job_id, outcome), lower, "+", "bylex", "limit", 0, limit))
        if not found:
            return [], ""
        (bodies,) = await self._ask(("hmget", job_key(job_id), *found))
        outcomes = [_outcome(one, json.loads(body)) for one, body in zip(found, bodies, strict=True) if body]
        return outcomes, found[-1] if len(found) >= limit else ""

    async def first_stood(self) -> dict[str, int]:
        """Group → when the record of its oldest letter that waits for an operator first stood; Unix ms."""
        groups = sorted(set(GROUPS.values()))
        asked = (("zrange", waiting_key(one), "-", "+", "bylex", "limit", 0, 1) for one in groups)
        *found, epoch = await self._ask(*asked, ("get", EPOCH))
        _there(epoch)
        return {group: int(one[0].split(":", 1)[0]) for group, one in zip(groups, found, strict=True) if one}

    async def _lists(
        self, wanted: Filter, states: Collection[State], tenants: Collection[str] | None
    ) -> list[tuple[str, list[str]]]:
        """Keys of the lists that hold what is meant (but for the time), and [state, group, reason, fingerprint]."""
        owners = _owners(wanted, tenants)
        where = [KINDS] if owners is None else [tenant_kinds_key(one) for one in owners]
        if not where:
            return []
        *found, epoch = await self._ask(*(("smembers", one) for one in where), ("get", EPOCH))
        _there(epoch)
        lists = []
        for owner, names in zip([None] if owners is None else owners, found, strict=True):
            for name in names:
                kind = json.loads(name)
                if _is_kind(kind, wanted, states):
                    lists.append((list_key(name) if owner is None else tenant_list_key(owner, name), kind))
        return sorted(lists)[:KINDS_MAX]

    async def _members(
        self, wanted: Filter, states: Collection[State], tenants: Collection[str] | None, upper: str, limit: int
    ) -> list[str]:
        """The next members, newest first; the caller looks once more whether they are meant."""
        if wanted.ids or wanted.key:
            await self.check()
        if wanted.ids:
            return await self._of_ids(wanted.ids, upper, limit)
        if wanted.key:
            keys = [letters_key(wanted.key)]
        else:
            keys = [key for key, _ in await self._lists(wanted, states, tenants)]
        if not keys or limit < 1:
            return []
        (found,) = await self._ask(("eval", NEWEST, len(keys), *keys, _lower(wanted), upper, limit))
        return cast(list[str], found)

    async def _of_ids(self, ids: Sequence[str], upper: str, limit: int) -> list[str]:
        found = sorted((member(one.letter.written_at, one.letter.id) for one in await self._entries(ids)), reverse=True)
        return [one for one in found if upper == "+" or one < upper[1:]][:limit]

    async def _entries(self, ids: Sequence[str]) -> list[Entry]:
        """Those that are there, in this order."""
        if not ids:
            return []
        said = await self._ask(*(("hmget", letter_key(one), "body", "now", "change") for one in ids))
        return [entry(*one) for one in said if one[0] is not None]

    async def _ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Several commands in one round trip, not a transaction."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return await pipe.execute()
        except RedisError as error:
            raise Unavailable(f"the index of dead letters does not answer: {type(error).__name__}") from error


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[LetterIndex]:
    """An index that is closed again."""
    index = LetterIndex(url)
    try:
        yield index
    finally:
        await index.close()


@dataclass(frozen=True, slots=True)
class _Answer:
    holds: bool | None
    gone: bool = field(default=False)


def _answers(wanted: Filter, batch: Sequence[Entry], source: Source) -> list[_Answer]:
    if not wanted.needs_record:
        return [_Answer(wanted.answers(one.letter)) for one in batch]
    records = source.fetch(one.letter.place for one in batch)
    return [_answer(wanted, one.letter, records.get(one.letter.place), source) for one in batch]


def _answer(wanted: Filter, letter: DeadLetter, record: Record | None, source: Source) -> _Answer:
    if record is None:
        return _Answer(holds=False, gone=True)
    return _Answer(wanted.answers(letter, record.headers, lambda: source.value(record)))


async def _batches(entries: AsyncIterator[Entry]) -> AsyncIterator[list[Entry]]:
    batch: list[Entry] = []
    async for one in entries:
        batch.append(one)
        if len(batch) >= SCAN_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _owners(wanted: Filter, tenants: Collection[str] | None) -> list[str] | None:
    """The tenants whose lists are looked at; None: the lists of all."""
    if not wanted.tenant:
        return None if tenants is None else sorted(set(tenants))
    return [wanted.tenant] if tenants is None or wanted.tenant in tenants else []


def _is_kind(kind: Sequence[str], wanted: Filter, states: Collection[State]) -> bool:
    state, group, reason, fingerprint = kind
    return (
        (not states or state in states)
        and wanted.group in ("", group)
        and wanted.reason in ("", reason)
        and wanted.fingerprint in ("", fingerprint)
    )


def _meets(one: Entry, wanted: Filter, states: Collection[State], tenants: Collection[str] | None) -> bool:
    """Once more: it may have changed between two questions, and key and ids look at every state."""
    return (
        (not states or one.state in states)
        and (tenants is None or one.letter.tenant in tenants)
        and wanted.meets(one.letter)
    )


def _lower(wanted: Filter) -> str:
    """What is older than the window is forgotten, also where nobody has swept yet."""
    return f"[{max(wanted.since, wall_ms() - RETENTION_MS, 0):013d}"


def _upper(wanted: Filter) -> str:
    return f"({wanted.until:013d}" if wanted.until else "+"


def _outcome(letter_id: str, said: Mapping[str, Any]) -> LetterOutcome:
    return LetterOutcome(
        letter_id=letter_id,
        outcome=Outcome(said["outcome"]),
        reason=said["reason"],
        to=said["to"],
        generation=said["generation"],
        at=said["at"],
    )


def _there(epoch: str | None) -> None:
    if epoch is None:
        raise Unavailable("dead letters are being read from the topics again; ask later")
