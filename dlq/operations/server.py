"""operations: HTTP for operators. Dead letters, replay jobs and breakers are read, and acted on, here.

Enters: requests with a principal's token. Leaves: JSON; commands on operation.requested.v1, which the replay stage
carries out. Guaranteed: every change is one command under the name that the token belongs to, and is audited where it
is carried out; a 2xx means that Kafka has the command; this process keeps nothing and decides nothing, so it can be
restarted at any time. No transport security: put a proxy that speaks TLS in front of it wherever it listens on more
than loopback. Rejected: changing anything from here (a process that dies between two steps would leave half of it).

    routes.py   every route and its models          ../answers.py   a command, and its answer
    asked.py    what a request says                 ../job_table.py jobs and waiting edits
    api.py      jobs, breakers, commands            ../show.py      one dead letter for people
    letters.py  what routes do about letters        ../index.py     lists, counts, groups
    neighbours.py  whom the handlers ask            ../entries.py   what is shown of many
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from aios.dlq.answers import Answers
from aios.dlq.breakers import BreakerTable
from aios.dlq.entries import Entry, Source
from aios.dlq.index import LetterIndex
from aios.dlq.job_table import EditTable, JobTable
from aios.dlq.operations.api import Api
from aios.dlq.places import Places
from aios.dlq.show import Reader, Shown
from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams import reference
from aios.streams.config import KafkaSettings, Settings
from aios.streams.http.guard import Guard
from aios.streams.http.serve import Reach, serve
from aios.streams.kafka import Delivery, read_one
from aios.streams.principals import PrincipalTable
from aios.streams.record import Record
from aios.streams.topology import OPERATIONS


class Records:
    """The records behind the index's entries, read where they stand."""

    def __init__(self, kafka: KafkaSettings, registry: RegistrySource) -> None:
        self._kafka = kafka
        self._reader = Reader(registry)
        self._places = Places(kafka)

    def source(self) -> Source:
        """For scans, of which there is one at a time."""
        return Source(self._places.fetch, self._reader.value)

    def show(self, entry: Entry, edited: bytes | None, *, personal: bool) -> tuple[Shown, Shown | None] | None:
        """As it failed, and as it would return; None if it is not there any more. Raises Unavailable."""
        record = read_one(self._kafka, *entry.letter.place)
        if record is None:
            return None
        topic = entry.letter.orig_topic
        shown = self._reader.show(record, self._original(record, entry), topic, personal=personal)
        if edited is None:
            return shown, None
        return shown, self._reader.show(record, replace(record, value=edited), topic, personal=personal)

    def _original(self, record: Record, entry: Entry) -> Record:
        """Where its bytes stand, if they did not fit; itself, once they are gone there."""
        if not entry.letter.reference:
            return record
        topic, partition, offset = entry.letter.reference.rsplit("/", 2)
        return read_one(self._kafka, topic, int(partition), int(offset)) or record

    def close(self) -> None:
        self._places.close()


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until stop; then refuse what is new and answer what is in hand. Raises Unavailable when it cannot start."""
    kafka, limits = settings.kafka, settings.operations
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    tables = (PrincipalTable(kafka, codec), JobTable(kafka, codec), EditTable(kafka, codec), BreakerTable(kafka, codec))
    index = LetterIndex(settings.redis.url)
    delivery = Delivery(kafka, client_id=f"{OPERATIONS.group}.{slot}")
    answers = Answers(kafka, codec, delivery)
    records = Records(kafka, registry)
    try:
        await asyncio.to_thread(codec.warm, OPERATIONS.writes)
        await asyncio.gather(reference.start(*tables), answers.start())
        principals, jobs, edits, breakers = tables
        api = Api(
            limits,
            Guard(limits, principals),
            codec=codec,
            index=index,
            records=records,
            jobs=jobs,
            edits=edits,
            breakers=breakers,
            answers=answers,
            roads=delivery,
            reachable=Reach(kafka, OPERATIONS.writes[0].name),
        )
        host, port = limits.host, limits.port
        await serve(api, "operations", host=host, port=port, home=settings.home, slot=slot, stop=stop, ready=ready)
    finally:
        await asyncio.to_thread(answers.close)
        await asyncio.to_thread(delivery.close)
        for table in tables:
            await asyncio.to_thread(table.close)
        await asyncio.to_thread(records.close)
        await index.close()
        registry.close()
