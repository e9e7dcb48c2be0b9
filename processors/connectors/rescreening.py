"""What was decided, screened again when a new version of the list serves: the walk along case.decided.

Enters: case.decided.v1 from its beginning, and then as it grows; the version that serves. Leaves: for each person who
came near to an entry by the new version, an application under a derived idempotency key on kyc.application.submitted;
before it, and for each who is near to an entry no more, an audit record of the decided case (`screened_again`); how
far a version has come, as offsets of a group of its own. Guaranteed: nothing before a version is published; the topic
is read to its end before anything is raised, so that what a person has looked at for an earlier version raises nothing
again; offsets are committed only behind the end, when everything before them is raised, so that a start goes on from
there and one that died in between repeats what was not committed (a repeat raises nothing: admit and the audit know the
ids); a new version, or other bytes under the same one, begins the walk anew; Kafka away: it goes on when it is back.
Every process of the connectors walks; what two of them raise is one case, and what either commits is true.
What a person looked at is known from decisions behind the offsets only: a case decided behind them was raised behind
them too, and looked at after that. Offsets of a version that serves no more expire by themselves.
Rejected: members of one group (each process would know a part of what was looked at), a table of who was screened (the
outcomes have it, as long as they are kept).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from prometheus_client import Counter

from aios.processors.screening import rescreen
from aios.processors.screening.published import Loaded
from aios.processors.screening.rescreen import Change
from aios.schemas.codec import Codec
from aios.schemas.errors import ContractError
from aios.schemas.models import CaseDecided, Event
from aios.schemas.registry import RegistrySource
from aios.streams import carrying, failpoints, topology
from aios.streams.admin import reader
from aios.streams.config import Settings
from aios.streams.errors import Unavailable
from aios.streams.kafka import Delivery
from aios.streams.record import Outgoing
from aios.streams.topics import APPLICATION_SUBMITTED, AUDIT_RECORDED, CASE_DECIDED, Topic
from aios.streams.wall_clock import wall_ms

BATCH_MAX = 100  # decisions of one round
WAITING_MAX = 10_000  # people who wait for the end of the topic; with more, some may be raised a second time
POLL_S = 0.5
AGAIN_S = 2.0  # after Kafka was away
LIST_S_MAX = 10.0
GROUP = topology.RESCREENING  # in front of the group's name
HASH_LETTERS = 12  # of the list's bytes, in the group's name
SOURCE = "/aios/lists"

SCREENED = Counter("aios_rescreened", "Decided cases looked at again for a new version of a list.", ["list"])
RAISED = Counter("aios_rescreen_raised", "People of decided cases who came near to an entry.", ["list"])
EASED = Counter("aios_rescreen_eased", "People of decided cases who are near to an entry no more.", ["list"])

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Walked:
    """Of one version, by tenant, case and place: a key is of whoever publishes. looked_at: entries that a person knows;
    waiting: who is near to others, or to fewer, with the decision, but for its output: that many outcomes are a
    machine's memory.
    """

    looked_at: dict[tuple[str, str, int], frozenset[str]]
    waiting: dict[tuple[str, str, int], tuple[CaseDecided, Change]]


class Rescreening:
    """See the module. `now` gives the version that serves; walk() ends when it is cancelled."""

    def __init__(self, settings: Settings, now: Callable[[], Loaded], published_at: Callable[[], int]) -> None:
        """published_at: of the version that serves, Unix ms; 0: it was shipped, and nothing is screened again."""
        self._settings = settings
        self._now = now
        self._published_at = published_at
        self._source = RegistrySource(settings.registry.url)
        self._codec = Codec(self._source)

    async def walk(self) -> None:
        """Along the topic, again and again. Raises what stops this deploy."""
        delivery: Delivery | None = None
        try:
            while True:
                await self._until_published()
                delivery = delivery or Delivery(self._settings.kafka, client_id="aios.connectors.rescreening")
                try:
                    await self._along(delivery)
                except (Unavailable, KafkaException) as error:
                    log.warning("screening again waits: %s", error)
                    await asyncio.sleep(AGAIN_S)
        finally:
            if delivery is not None:
                await asyncio.to_thread(delivery.close)
            self._source.close()

    async def _until_published(self) -> None:
        while not self._published_at():  # noqa: ASYNC110 - the reader's thread knows it, no task of this loop
            await asyncio.sleep(POLL_S)

    async def _along(self, delivery: Delivery) -> None:
        """With one version, until another serves. Raises Unavailable, KafkaException."""
        loaded, at = self._now(), self._published_at()
        if not at:
            return  # another version was published just now, and does not serve yet
        consumer, behind = await asyncio.to_thread(self._begin, loaded)
        log.info("decided cases are screened again by %s", loaded.listed.reference)
        walked = _Walked({}, {})
        committed: dict[int, int] = {}
        try:
            while self._now() is loaded:
                messages = await asyncio.to_thread(consumer.consume, BATCH_MAX, POLL_S)
                behind -= {message.partition() for message in messages if _is_end(message)}
                await asyncio.to_thread(self._judge, messages, loaded, walked)
                if not behind or len(walked.waiting) >= WAITING_MAX:
                    outs = await asyncio.to_thread(self._raise, walked, loaded, at)
                    await delivery.deliver_all(outs)
                    walked.waiting.clear()
                if not behind:
                    failpoints.hit("connectors.raised")
                    committed = await asyncio.to_thread(self._commit, consumer, committed)
        finally:
            await asyncio.to_thread(consumer.close)

    def _begin(self, loaded: Loaded) -> tuple[Consumer, set[int]]:
        """Where this version has come to, else at the beginning; and which partitions. Raises as _along."""
        group = f"{GROUP}.{loaded.listed.reference}.{loaded.listed.sha256[:HASH_LETTERS]}"
        consumer = reader(self._settings.kafka, **{"auto.offset.reset": "earliest", "group.id": group})
        try:
            found = consumer.list_topics(CASE_DECIDED.name, timeout=LIST_S_MAX).topics[CASE_DECIDED.name]
            if found.error is not None:
                raise Unavailable(f"{CASE_DECIDED.name} does not exist in this Kafka")
            asked = [TopicPartition(CASE_DECIDED.name, each) for each in found.partitions]
            for place in (places := consumer.committed(asked, timeout=LIST_S_MAX)):
                if place.error is not None:
                    raise KafkaException(place.error)
                place.offset = place.offset if place.offset >= 0 else OFFSET_BEGINNING
        except (KafkaException, Unavailable):
            consumer.close()
            raise
        consumer.assign(places)
        return consumer, set(found.partitions)

    def _commit(self, consumer: Consumer, committed: dict[int, int]) -> dict[int, int]:
        """Everything that was read is raised: never again for this version. Raises KafkaException."""
        places = [place for place in consumer.position(consumer.assignment()) if place.offset >= 0]
        if moved := [place for place in places if committed.get(place.partition) != place.offset]:
            consumer.commit(offsets=moved, asynchronous=False)
        return {place.partition: place.offset for place in places}

    def _judge(self, messages: Sequence[Message], loaded: Loaded, walked: _Walked) -> None:
        """Remember what a round of decisions says. Raises Unavailable: the registry is away."""
        for decided in self._decisions(messages):
            if (looked := rescreen.looked_at(decided, loaded)) is not None:
                case, place, entries = looked
                key = decided.tenant, case, place
                walked.looked_at[key] = walked.looked_at.get(key, frozenset()) | entries
                continue
            SCREENED.labels(loaded.listed.name).inc()
            for change in rescreen.changes(decided, loaded):
                walked.waiting[decided.tenant, decided.case_id, change.place] = (replace(decided, output=""), change)

    def _raise(self, walked: _Walked, loaded: Loaded, at: int) -> list[Outgoing]:
        """What those who wait come to, without what a person has looked at."""
        outs: list[Outgoing] = []
        for key, (decided, change) in walked.waiting.items():
            left = rescreen.without(change, walked.looked_at.get(key, frozenset()))
            if left.added:
                RAISED.labels(loaded.listed.name).inc()
            if left.gone:
                EASED.labels(loaded.listed.name).inc()
            if left.added or left.gone:
                outs += self._told(decided, left, loaded, at)
        return outs

    def _decisions(self, messages: Iterable[Message]) -> Iterable[CaseDecided]:
        for message in messages:
            if message.error() is not None or message.value() is None:
                continue
            try:
                yield self._codec.decode(message.value(), CaseDecided)
            except ContractError as error:
                log.warning("skipped %s at offset %d: %s", message.topic(), message.offset(), error)

    def _told(self, decided: CaseDecided, change: Change, loaded: Loaded, at: int) -> Iterable[Outgoing]:
        audit = rescreen.told(decided, change, loaded, at)
        told: list[tuple[Topic, Event, str, str]] = [(AUDIT_RECORDED, audit, audit.audit_id, audit.case_id)]
        if change.added:
            event = rescreen.application(decided, change, loaded, at)
            told.append((APPLICATION_SUBMITTED, event, event.event_id, event.idempotency_key))
        for topic, what, what_id, key in told:
            yield carrying.outgoing(
                self._codec,
                topic,
                what,
                key=key,
                event_id=what_id,
                source=SOURCE,
                subject=decided.case_id,
                tenant=decided.tenant,
                time_ms=wall_ms(),
            )


def _is_end(message: Message) -> bool:
    """Whether a partition was read to its end."""
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF
