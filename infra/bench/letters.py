"""`aios bench letters`: the index of dead letters, filled and asked.

Enters: nothing; starts a Valkey of its own. Leaves: how many dead letters a second the sink's writes take, and how long
list, count, groups, an id's beginning and a job's outcomes take, each question on its own as an operator asks it.
Guaranteed: letters of every group there is, 20 kinds of failure in each (REASONS, FINGERPRINTS), 20 tenants and many
keys, a third of them replayed by one job, some of these failed again; the writes are those of sinks/letter_writes.py,
the questions those of dlq/index.py. Kafka is not part of it: a record's way there costs what it costs every sink.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from aios.dlq.dead_letter import GROUPS, DeadLetter
from aios.dlq.filters import Filter
from aios.dlq.index import LetterIndex, opened
from aios.dlq.index_layout import UNRESOLVED, Outcome, State
from aios.infra import output
from aios.infra.bench import machine
from aios.infra.local.valkey import Valkey
from aios.schemas import ids
from aios.schemas.errors import Reason
from aios.schemas.models import LetterChanged
from aios.sinks.epoch_store import EpochStore, Write
from aios.sinks.letter_writes import change_write, letter_write
from aios.sinks.letters import MARKS
from aios.sinks.shell import TAKE_MAX
from aios.streams.wall_clock import wall_ms

TENANTS, REASONS, FINGERPRINTS = 20, 5, 4  # 20 kinds of failure in each group
KEYS_SHARE = 10  # letters of one key
JOB = "bench"
ASKED = 50  # times each question


@click.command()
@click.option("--count", type=click.IntRange(1_000, 2_000_000), default=100_000, show_default=True, help="Letters.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def letters(count: int, keep: bool) -> None:
    """The index of dead letters: writes a second, and how long each question takes."""
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
        valkey = Valkey(Path(folder))
        valkey.start()
        try:
            figures = asyncio.run(_measured(valkey.url, Path(folder), count))
        finally:
            valkey.stop()
    output.rows(figures["questions"], ("question", "p50_ms", "p95_ms", "max_ms"), as_json=False, none="")
    click.echo(f"{figures['writes']} writes, {figures['writes_per_s']} a second")
    if keep:
        machine.keep("letters", f"aios bench letters --count {count}", figures)


async def _measured(url: str, folder: Path, count: int) -> dict[str, Any]:
    store = EpochStore(url, folder / "epoch", MARKS)
    try:
        await store.ensure(lambda: (write for write in list[Write]()))
        written, took_s = await _fill(store, count)
    finally:
        await store.close()
    async with opened(url) as index:
        questions = [await _timed(name, index, ask) for name, ask in _questions().items()]
    return {"letters": count, "writes": written, "writes_per_s": round(written / took_s), "questions": questions}


async def _fill(store: EpochStore, count: int) -> tuple[int, float]:
    """As the sink does, a round after the other; making the writes is not counted."""
    writes, written, took_s = _writes(count), 0, 0.0
    while batch := list(islice(writes, TAKE_MAX)):
        started = time.monotonic()
        await store.apply(batch)
        took_s += time.monotonic() - started
        written += len(batch)
    return written, took_s


def _writes(count: int) -> Iterator[Write]:
    chance = random.Random(1)  # noqa: S311 - a load, no secret
    now_ms = wall_ms()
    topics, reasons = sorted(GROUPS), sorted(Reason)[:REASONS]
    for number in range(count):
        topic, reason = chance.choice(topics), chance.choice(reasons)
        one = _letter(number, topic, reason, chance, now_ms - count // 10 + number // 10)
        yield letter_write(one)
        if number % 3 == 0:
            yield change_write(_replayed(one, now_ms), number)
        if number % 30 == 0:
            yield letter_write(_letter(number, topic, reason, chance, now_ms, again=True))


def _letter(number: int, topic: str, reason: str, chance: random.Random, at: int, *, again: bool = False) -> DeadLetter:
    return DeadLetter(
        id=ids.derive("bench", str(number)),
        generation=int(again),
        group=GROUPS[topic],
        stage=GROUPS[topic].removeprefix("aios."),
        reason=reason,
        kind="permanent",
        key=f"customer-{number // KEYS_SHARE}",
        tenant=f"tenant-{chance.randrange(TENANTS)}",
        fingerprint=f"{chance.randrange(FINGERPRINTS):016x}",
        error="SchemaMismatch",
        where="schemas.codec:_read",
        message="does not decode: EOFError",
        code_version="0.1.0",
        attempts=1,
        first_failed_at=at,
        failed_at=at,
        written_at=at,
        size=1_000,
        sha256="0" * 64,
        schema_id="7",
        reference="",
        job=JOB if again else "",
        edited="",
        ordinal=-1,
        place=(topic, number % 6, number),
        orig_topic="case.admitted.v1",
        orig_partition=number % 6,
        orig_offset=number,
        orig_timestamp=at,
    )


def _replayed(one: DeadLetter, at: int) -> LetterChanged:
    topic, partition, offset = one.place
    return LetterChanged(
        change_id=one.id,
        letter_id=one.id,
        generation=one.generation,
        state=State.REPLAYED,
        group=one.group,
        tenant=one.tenant,
        topic=topic,
        partition=partition,
        offset=offset,
        job_id=JOB,
        reason="fixed",
        to=f"{one.group}.retry/{partition}",
        edit_hash_before="",
        edit_hash_after="",
        by="operator",
        at=at,
    )


def _questions() -> dict[str, Callable[[LetterIndex], Awaitable[object]]]:
    plan = Filter(group="aios.plan", reason=sorted(Reason)[0])
    some = ids.derive("bench", "500")
    return {
        "list, newest 50 of all": lambda index: index.page(Filter()),
        "list, open, a group and reason": lambda index: index.page(plan, states=UNRESOLVED),
        "list, open, one tenant": lambda index: index.page(Filter(tenant="tenant-3"), states=UNRESOLVED),
        "list, one key": lambda index: index.page(Filter(key="customer-50")),
        "count, all": lambda index: index.count(Filter()),
        "count, open, one tenant": lambda index: index.count(Filter(tenant="tenant-3"), states=UNRESOLVED),
        "groups, all": lambda index: index.groups(Filter()),
        "groups, open, three tenants": lambda index: index.groups(
            Filter(), states=UNRESOLVED, tenants=[f"tenant-{number}" for number in range(3)]
        ),
        "one, by the beginning of its id": lambda index: index.get(some[:13]),
        "a job's counts": lambda index: index.job(JOB),
        "a job's letters, 50 of them": lambda index: index.job_letters(JOB, Outcome.FAILED_AGAIN),
    }


async def _timed(name: str, index: LetterIndex, ask: Callable[[LetterIndex], Awaitable[object]]) -> dict[str, Any]:
    took_ms = []
    for _ in range(ASKED):
        started = time.perf_counter()
        await ask(index)
        took_ms.append((time.perf_counter() - started) * 1000)
    known = machine.percentiles(took_ms)
    return {"question": name, "p50_ms": known["p50"], "p95_ms": known["p95"], "max_ms": round(max(took_ms), 1)}
