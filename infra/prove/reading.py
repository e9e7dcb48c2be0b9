"""The proof's own eyes: where topics end, what stands in them, and what their bytes say.

Enters: addresses. Leaves: positions, records, decoded values. Guaranteed: committed records only, in the order of
their partition, up to an end that was fixed before; nothing is committed and no group is joined. None of the
stages' own readers is used, so that a mistake of theirs is not repeated here.
"""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec
from fastavro import parse_schema, schemaless_reader

from aios.infra.running import running
from aios.streams import tenants
from aios.streams.errors import Unavailable

ASK_S_MAX = 20.0
AGAIN_S = 0.2
QUIET_S_MAX = 30.0  # without any answer of a broker while reading
READ_MAX = 10_000  # records of one call
READ_S = 0.01  # of a call that finds fewer
REGISTRY_S_MAX = 30.0  # for a registry that is being restarted

Place = tuple[str, int]  # topic, partition


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Of one running system. key: an API key of the tenant. properties: of Kafka's clients, for TLS and SASL."""

    kafka: str
    registry: str
    valkey: str
    gateway: str = ""
    key: str = ""
    tenant: str = "demo"
    properties: Mapping[str, str] = field(default_factory=dict)

    def client(self, **own: Any) -> dict[str, Any]:
        return {"bootstrap.servers": self.kafka, **self.properties, **own}


def of_running() -> Addresses:
    """The system in AIOS_HOME, or a clear exit."""
    found = running()
    settings = found.settings
    return Addresses(
        kafka=settings.kafka.bootstrap_servers,
        registry=settings.registry.url,
        valkey=settings.redis.url,
        gateway=found.gateway,
        key=tenants.kept_key(settings.home, settings.default_tenant),
        tenant=settings.default_tenant,
        properties=settings.kafka.properties,
    )


class Seen(NamedTuple):
    """One record. key: empty if it has none. value: bytes, None for a tombstone. at: the broker's Unix ms."""

    topic: str
    partition: int
    offset: int
    at: int
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Registry:
    """Schemas by id and ids by subject, asked for once each."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._schemas: dict[int, Any] = {}

    def id_of(self, subject: str) -> int:
        return int(self.latest(subject)["id"])

    def latest(self, subject: str) -> dict[str, Any]:
        """Id and schema of the newest version."""
        return self._ask(f"/subjects/{urllib.parse.quote(subject, safe='')}/versions/latest")

    def decode(self, value: bytes) -> dict[str, Any]:
        """The fields of a framed value. Raises ValueError for what is none."""
        if len(value) < 5 or value[0]:
            raise ValueError("not framed")
        number = int.from_bytes(value[1:5], "big")
        schema = self._schemas.get(number)
        if schema is None:
            schema = parse_schema(_bare(json.loads(self._ask(f"/schemas/ids/{number}")["schema"])))
            self._schemas[number] = schema
        stream = BytesIO(value)
        stream.seek(5)
        fields: dict[str, Any] = schemaless_reader(stream, schema, None)
        return fields

    def _ask(self, path: str) -> dict[str, Any]:
        deadline = time.monotonic() + REGISTRY_S_MAX
        while True:
            try:
                with urllib.request.urlopen(self._url + path, timeout=ASK_S_MAX) as answer:  # noqa: S310 - configured
                    said: dict[str, Any] = json.load(answer)
                    return said
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError) and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise ValueError(f"the registry answers {error.code} to {path}") from error
                if time.monotonic() > deadline:
                    raise Unavailable(f"the registry does not answer: {error}") from error
                time.sleep(AGAIN_S)


def _bare(schema: Any) -> Any:
    """Without logical types: a time is the number that was written, and 0 is 0."""
    if isinstance(schema, dict):
        return {name: _bare(value) for name, value in schema.items() if name != "logicalType"}
    return [_bare(each) for each in schema] if isinstance(schema, list) else schema


class Reader:
    """Reads partitions, one after the other."""

    def __init__(self, addresses: Addresses) -> None:
        own: dict[str, Any] = {
            "group.id": "aios.prove",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            "queued.max.messages.kbytes": 65_536,
            "max.partition.fetch.bytes": 16 << 20,
            "check.crcs": False,
            "fetch.error.backoff.ms": 50,
            "fetch.queue.backoff.ms": 20,
            "log_level": 0,
        }
        self._consumer = Consumer(addresses.client(**own))

    def close(self) -> None:
        self._consumer.close()

    def read(self, topic: str, partition: int, start: int, end: int, *, headers: bool = False) -> Iterator[Seen]:
        """Committed records of start <= offset < end; without headers, which cost, unless asked. Raises Unavailable."""
        yield from self.several({(topic, partition): (start, end)}, headers=headers)

    def several(self, ranges: Mapping[Place, tuple[int, int]], *, headers: bool = False) -> Iterator[Seen]:
        """As read(), of several partitions at once: each in its order, one between the other. Raises Unavailable."""
        ends = {place: end for place, (start, end) in ranges.items() if start < end}
        if not ends:
            return
        self._consumer.assign([TopicPartition(*place, ranges[place][0]) for place in sorted(ends)])
        quiet_until = time.monotonic() + QUIET_S_MAX
        while ends:
            if time.monotonic() > quiet_until:
                raise Unavailable(f"{', '.join(f'{t}/{p}' for t, p in ends)}: nothing came for {QUIET_S_MAX:.0f} s")
            for message in self._consumer.consume(READ_MAX, READ_S):
                quiet_until = time.monotonic() + QUIET_S_MAX
                place, error = (message.topic(), message.partition()), message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    if not error.retriable():
                        raise Unavailable(f"reading {place[0]}/{place[1]}: {error}")
                elif message.offset() >= ends.get(place, 0):
                    ends.pop(place, None)
                elif error is None:
                    yield _seen(*place, message, headers=headers)

    def all(self, ranges: Mapping[Place, tuple[int, int]]) -> dict[Place, list[Seen]]:
        """Committed records of all these ranges at once, with headers: a partition alone costs 0.1 s to begin with.

        Raises Unavailable.
        """
        found: dict[Place, list[Seen]] = {place: [] for place in ranges}
        for seen in self.several(ranges, headers=True):
            found[seen.topic, seen.partition].append(seen)
        return found


class Kept:
    """What a Reader has read of a system at rest, served again as a Reader does; nothing came behind it."""

    def __init__(self, found: Mapping[Place, Sequence[Seen]]) -> None:
        self._found = found

    def close(self) -> None:
        """Nothing is held open."""

    def read(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int,
        *,
        headers: bool = False,  # noqa: ARG002 - as a Reader's; they are always there
    ) -> Iterator[Seen]:
        """As Reader.read."""
        yield from (seen for seen in self._found[topic, partition] if start <= seen.offset < end)

    def several(
        self,
        ranges: Mapping[Place, tuple[int, int]],
        *,
        headers: bool = False,  # noqa: ARG002 - as a Reader's; they are always there
    ) -> Iterator[Seen]:
        """As Reader.several."""
        for place, (start, end) in ranges.items():
            yield from self.read(*place, start, end)


def _seen(topic: str, partition: int, message: Message, *, headers: bool) -> Seen:
    return Seen(
        topic,
        partition,
        message.offset(),
        message.timestamp()[1],
        message.key() or b"",
        message.value(),
        (message.headers() or []) if headers else [],
    )


class Eyes:
    """Positions of topics and groups."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._admin = AdminClient(addresses.client(log_level=0))
        self._members: dict[str, Consumer] = {}

    def places(self, wanted: Iterable[str]) -> list[Place]:
        """Every partition of the topics that exist."""
        there = self._patiently("which topics there are", lambda: self._admin.list_topics(timeout=ASK_S_MAX).topics)
        return [(name, number) for name in wanted if name in there for number in sorted(there[name].partitions)]

    def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where the committed records end now."""
        return self._offsets(places, OffsetSpec.latest())

    def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        """The first offsets that are still there."""
        return self._offsets(places, OffsetSpec.earliest())

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, int]:
        """What the group committed; places without are left out."""
        consumer_places = [TopicPartition(topic, partition) for topic, partition in places]
        if not consumer_places:
            return {}

        def ask() -> list[TopicPartition]:
            return self._member(group).committed(consumer_places, timeout=ASK_S_MAX)

        found = self._patiently(f"the offsets of {group}", ask)
        return {(place.topic, place.partition): place.offset for place in found if place.offset >= 0}

    def _member(self, group: str) -> Consumer:
        """One that never joins. (An AdminClient that asks the wrong broker for a group's offsets ends by SIGSEGV.)"""
        member = self._members.get(group)
        if member is None:
            own = {"group.id": group, "enable.auto.commit": False, "log_level": 0}
            member = self._members[group] = Consumer(self._addresses.client(**own))
        return member

    def _offsets(self, places: Iterable[Place], spec: OffsetSpec) -> dict[Place, int]:
        wanted = {TopicPartition(*place): spec for place in places}

        def ask() -> dict[Place, int]:
            asked = self._admin.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ASK_S_MAX
            )
            return {(place.topic, place.partition): one.result().offset for place, one in asked.items()}

        return self._patiently("where topics end", ask) if wanted else {}

    def _patiently(self, what: str, ask: Callable[[], T]) -> T:
        """Its answer; asked again, by a client that knows nothing yet, while leaders and coordinators change.

        librdkafka keeps a leader's epoch and is refused for ever once another was elected. Raises Unavailable.
        """
        deadline = time.monotonic() + ASK_S_MAX
        while True:
            try:
                return ask()
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{what}: {error}") from error
                time.sleep(AGAIN_S)
                self._admin = AdminClient(self._addresses.client(log_level=0))


def everything(eyes: Eyes, reader: Reader, topics: Iterable[str]) -> Iterator[Seen]:
    """Every committed record of these topics, up to where they end now. Raises Unavailable."""
    places = eyes.places(topics)
    begins, ends = eyes.beginnings(places), eyes.ends(places)
    yield from reader.several({place: (begins[place], ends[place]) for place in places})
