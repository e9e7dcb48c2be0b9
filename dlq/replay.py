"""replay: returns a dead letter to the group it failed in, when an operator asks.

Enters: replay.requested.v1, one dead letter each, named by id and place. Leaves: the original record, or the repaired
bytes, on <group>.retry in the partition it failed in, and audit.recorded.v1. Guaranteed: only groups of the topology,
never a target of the request's own choosing; only the very record that was meant, for its id is compared; each
replay_id is delivered once, for the retry topic itself is asked what has been delivered (a process that dies between
two steps, or an operator who asks twice, changes nothing). A dead letter that is not there any more, or not the one
that was meant, makes a dead letter of the request: visible, with its reason, and no loop.

    replay.count    replays of this record so far, this one included      replay.job   replay_id
    replay.by, at   who asked, when                                       replay.attempts   made before it
    replay.edited   sha256 of the bytes before a repair

Rejected: writing back to the topic the record came from (others read it too); remembering replay ids in this process
(lost with it); a transaction over output and request (readers bear repeats, and there are none to speak of).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aios.dlq import envelope
from aios.dlq.deaths import Deaths, given_up
from aios.dlq.envelope import PREFIX
from aios.dlq.places import Places, Where
from aios.dlq.settle import Settler
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, ReplayRequested
from aios.schemas.registry import RegistrySource
from aios.streams import failpoints, metrics, topology, tracing
from aios.streams.config import Settings
from aios.streams.errors import Reason, RecordError, Unavailable, Verdict
from aios.streams.kafka import Delivery, Intake, cluster_id
from aios.streams.record import Outgoing, Record, headers_of
from aios.streams.topics import AUDIT_RECORDED, Family
from aios.streams.topology import REPLAY, Stage

ROUND_MAX = 64  # requests, and so dead letters of up to a MiB each, in memory at once
WAIT_MS_MAX = 200
PAUSE_MS = 1_000  # while Kafka or the registry is away
SKEW_MS = 3_600_000  # by which clocks of writers may differ, when the log is asked by time
JOBS_MAX = 200_000  # delivered replay ids remembered per partition; beyond it the log is read again
SOURCE = "/aios/replay"

STAGES = {stage.dead_letters.name: stage for stage in topology.STAGES if stage.reads}
"""The allow-list: dead-letter topic → the stage whose group gets it back."""

Letters = Mapping[Where, tuple[Record, bytes | None]]  # the dead letter, and the original bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replay:
    """What one request writes."""

    replay_id: str
    returned: Outgoing
    audit: AuditRecorded
    traceparent: str

    @property
    def target(self) -> tuple[str, int]:
        return self.returned.topic, self.returned.partition or 0


def stage_of(request: ReplayRequested) -> Stage:
    """Whose dead letter it is. Raises RecordError for a topic that holds none."""
    stage = STAGES.get(request.topic)
    if stage is None:
        raise RecordError("the request names no dead-letter topic of this system", Reason.UNATTRIBUTABLE)
    return stage


def replay(asked: Record, request: ReplayRequested, letter: Record | None, value: bytes | None, tenant: str) -> Replay:
    """What a request writes. letter: what stands at its place. value: the original bytes. tenant: if it names none.

    Raises RecordError when the letter is not the one that was meant.
    """
    stage = stage_of(request)
    if letter is None:
        raise RecordError("the dead letter is not there any more: its time was up", Reason.UNATTRIBUTABLE)
    said = envelope.headers_said(letter.headers)
    if said.get("id") != request.dead_letter_id:
        raise RecordError("another record stands where the dead letter is said to be", Reason.UNATTRIBUTABLE)
    repaired = request.value is not None
    if not repaired and value is None and envelope.reference(letter) is not None:
        raise RecordError("its bytes were left where it failed, and are not there any more", Reason.UNATTRIBUTABLE)
    told = said | {
        "replay.count": str(envelope.number(said, "replay.count") + 1),
        "replay.attempts": said.get("attempts", "0"),
        "replay.job": request.replay_id,
        "replay.by": request.requested_by,
        "replay.at": str(request.requested_at),
    }
    told |= {"replay.edited": envelope.sha256(value)} if repaired else {}
    told.pop("payload_ref", None)
    ours = headers_of({PREFIX + name: envelope.clipped(text) for name, text in told.items()})
    headers = (*envelope.foreign(letter.headers), *ours)
    new = request.value if repaired else value
    returned = Outgoing(stage.retries.name, letter.key, new, headers, letter.partition)
    if not envelope.fits(replace(letter, value=new)):
        raise RecordError("the bytes are too many to travel; replay shorter ones", Reason.OVERSIZE)
    audit = _audit(asked, request, letter.key, told | {"sha256": envelope.sha256(new)}, tenant)
    return Replay(request.replay_id, returned, audit, letter.header("traceparent") or "")


def _audit(
    asked: Record, request: ReplayRequested, key: bytes | None, told: Mapping[str, str], tenant: str
) -> AuditRecorded:
    """Of the case, where the record is keyed by one; else of the dead letter."""
    origin = topology.all_topics().get(told.get("orig.topic", ""))
    of_case = origin is not None and origin.family is Family.CASE and bool(key)
    detail = {
        "dead_letter_id": request.dead_letter_id,
        "replay_id": request.replay_id,
        "group": told.get("orig.group", ""),
        "failed_for": told.get("reason", ""),
        "fingerprint": told.get("fingerprint", ""),
        "why": envelope.clipped(request.reason, envelope.MESSAGE_BYTES_MAX),
        "replays": int(told["replay.count"]),
        "sha256": told["sha256"],
        "sha256_before": told.get("replay.edited", ""),
    }
    return AuditRecorded(
        audit_id=str(ids.derive("replayed", request.replay_id)),
        case_id=(key or b"").decode("utf-8", "replace") if of_case else request.dead_letter_id,
        tenant=told.get("tenant") or tenant,
        workflow="",
        case_seq=0,
        transition="replayed",
        actor=envelope.clipped(request.requested_by),
        detail=ids.canonical(detail),
        input_topic=asked.topic,
        input_partition=asked.partition,
        input_offset=asked.offset,
        at=asked.timestamp_ms or request.requested_at,
    )


@dataclass(slots=True)
class _Seen:
    """Replay ids on one partition of a retry topic, written since a time: from the offset `first` to `next`."""

    since_ms: int
    first: int
    next: int
    jobs: set[str] = field(default_factory=set)


class Delivered:
    """What the retry topics say was delivered: the only memory of replays. Blocking; of one thread at a time."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._seen: dict[tuple[str, int], _Seen] = {}

    def has(self, target: tuple[str, int], replay_id: str) -> bool:
        """As of the latest look()."""
        return replay_id in self._seen[target].jobs

    def look(self, target: tuple[str, int], since_ms: int) -> None:
        """Read what was written there since that time, and not read yet. Raises Unavailable."""
        seen = self._seen.get(target)
        if seen is None or len(seen.jobs) > JOBS_MAX:
            first = self._places.since(*target, since_ms)
            seen = self._seen[target] = _Seen(since_ms, first, first)
        elif since_ms < seen.since_ms:
            first = self._places.since(*target, since_ms)
            self._read(target, seen, first, seen.first)
            seen.since_ms, seen.first = since_ms, min(first, seen.first)
        low, end = self._places.ends(*target)  # what retention took since the last look delivers nothing any more
        self._read(target, seen, max(low, seen.next), end)
        seen.next = max(end, seen.next)

    def _read(self, target: tuple[str, int], seen: _Seen, first: int, stop: int) -> None:
        if first >= stop:
            return
        for record in self._places.scan(*target, first, stop):
            job = record.header(f"{PREFIX}replay.job")
            if job:
                seen.jobs.add(job)


class _Replay:
    """The stage, once everything it works with is there."""

    def __init__(self, settings: Settings, codec: Codec, places: Places, cluster: str, *, slot: int) -> None:
        self._default_tenant = settings.default_tenant
        self._codec = codec
        self._places = places
        self._delivered = Delivered(places)
        self._settler = Settler(REPLAY, cluster)
        self._deaths = Deaths(settings.home, REPLAY.name)
        self._delivery = Delivery(settings.kafka, client_id=f"{REPLAY.group}.{slot}")
        self._intake = Intake(
            settings.kafka,
            group=REPLAY.group,
            topics=[topic.name for topic in REPLAY.inputs],
            instance_id=f"{REPLAY.group}.{slot}",
            in_flight_max=ROUND_MAX,
        )

    async def start(self) -> None:
        await self._intake.start()

    async def close(self) -> None:
        """What is not finished comes to whoever is next."""
        await self._intake.close(0.0)
        await asyncio.to_thread(self._delivery.close)
        self._deaths.close()

    async def round(self) -> None:
        """Serve the requests that came. Raises what stops this deploy."""
        taken = await self._intake.take(ROUND_MAX, wait_ms_max=WAIT_MS_MAX)
        if not taken:
            return
        try:
            await self._serve(taken)
        except Unavailable as error:
            log.warning("replays wait: %s", error)
            for topic, partition in {(record.topic, record.partition) for record in taken}:
                self._intake.pause(topic, partition, PAUSE_MS)

    async def _serve(self, taken: Sequence[Record]) -> None:
        """Raises Unavailable, with everything that is not finished still in hand."""
        found = await asyncio.to_thread(self._prepare, taken)
        for record, error in found:
            if isinstance(error, Exception):
                await self._settle(record, error)
        await self._deliver([one for _, one in found if isinstance(one, Replay)])
        for record, one in found:
            if not isinstance(one, Exception):
                self._done(record, "done" if one is not None else "repeated")
        failpoints.hit("replay.finished")

    def _prepare(self, taken: Sequence[Record]) -> list[tuple[Record, Replay | Exception | None]]:
        """What each request writes, or why it cannot; None: it was delivered before. Blocking. Raises Unavailable."""
        asked = [(record, self._read(record)) for record in taken]
        letters = self._fetch([request for _, request in asked if isinstance(request, ReplayRequested)])
        found = [(record, self._build(record, request, letters)) for record, request in asked]
        self._look([one for _, one in found if isinstance(one, Replay)], letters)
        return list(self._fresh(found))

    def _read(self, record: Record) -> ReplayRequested | Exception:
        _, deaths = self._deaths.reach(record.topic, record.partition, record.offset, record.offset)
        self._deaths.begin(record.topic, record.partition, record.offset, record.offset)
        try:
            killer = given_up(deaths)
            if killer is not None:
                return killer
            failpoints.hit("replay.decode", record.value or b"")
            return self._codec.decode(record.value, ReplayRequested)
        except Exception as error:  # noqa: BLE001 - what becomes of it is decided in dlq/
            return error
        finally:
            self._deaths.end(record.topic, record.partition)

    def _fetch(self, requests: Sequence[ReplayRequested]) -> Letters:
        """Dead letters by place, with their original bytes, also those that were left where they stood."""
        letters = self._places.fetch({_place(request) for request in requests if request.topic in STAGES})
        refs = {place: ref for place, letter in letters.items() if (ref := envelope.reference(letter)) is not None}
        originals = self._places.fetch(refs.values())
        left = {place: originals[ref].value if ref in originals else None for place, ref in refs.items()}
        return {place: (letter, left.get(place, letter.value)) for place, letter in letters.items()}

    def _build(self, record: Record, request: ReplayRequested | Exception, letters: Letters) -> Replay | Exception:
        if isinstance(request, Exception):
            return request
        letter, value = letters.get(_place(request), (None, None))
        try:
            return replay(record, request, letter, value, self._default_tenant)
        except RecordError as error:
            return error

    def _look(self, replays: Iterable[Replay], letters: Letters) -> None:
        """A replay stands behind its dead letter in time."""
        oldest_ms = min((letter.timestamp_ms for letter, _ in letters.values()), default=0)
        for target in {one.target for one in replays}:
            self._delivered.look(target, oldest_ms - SKEW_MS)

    def _fresh(
        self, found: Iterable[tuple[Record, Replay | Exception]]
    ) -> Iterator[tuple[Record, Replay | Exception | None]]:
        """With None instead of what was delivered before, or is asked twice here."""
        now: set[str] = set()
        for record, one in found:
            repeated = isinstance(one, Replay) and (
                one.replay_id in now or self._delivered.has(one.target, one.replay_id)
            )
            now |= {one.replay_id} if isinstance(one, Replay) else set()
            yield record, None if repeated else one

    async def _deliver(self, replays: Sequence[Replay]) -> None:
        """The audit first: the returned record is what tells that all is done."""
        await self._delivery.deliver_all(await asyncio.to_thread(self._audits, replays))
        failpoints.hit("replay.computed")
        await self._delivery.deliver_all([one.returned for one in replays])

    def _audits(self, replays: Iterable[Replay]) -> list[Outgoing]:
        return [self._audit_record(one) for one in replays]

    def _audit_record(self, one: Replay) -> Outgoing:
        audit = one.audit
        with tracing.span(REPLAY.name, one.traceparent, replay_id=one.replay_id):
            headers = tracing.envelope(
                audit,
                event_id=audit.audit_id,
                source=SOURCE,
                subject=audit.case_id,
                tenant=audit.tenant,
                traceparent=one.traceparent,
                time_ms=audit.at,
            )
        return Outgoing(AUDIT_RECORDED.name, audit.case_id.encode(), self._codec.encode(AUDIT_RECORDED, audit), headers)

    async def _settle(self, record: Record, error: Exception) -> None:
        """Raises Unavailable to pause, and what stops this deploy."""
        settled = self._settler.settle(record, error, time.time_ns() // 1_000_000)
        if settled.verdict is Verdict.STOP:
            raise error
        if settled.outgoing is None:
            raise Unavailable(str(error)) from error
        await self._delivery.deliver(settled.outgoing)
        self._finish(record, settled.verdict)

    def _done(self, record: Record, verdict: str) -> None:
        self._settler.done(record)
        self._finish(record, verdict)

    def _finish(self, record: Record, verdict: str) -> None:
        self._intake.finish(record)
        metrics.SETTLED.labels(REPLAY.name, record.topic, verdict).inc()
        if record.timestamp_ms:
            took_ms = time.time_ns() // 1_000_000 - record.timestamp_ms
            metrics.TOOK.labels(REPLAY.name).observe(max(0, took_ms) / 1000)


def _place(request: ReplayRequested) -> Where:
    return request.topic, request.partition, request.offset


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """The stage, until stop is set."""
    places, registry = Places(settings.kafka), RegistrySource(settings.registry.url)
    try:
        cluster = await asyncio.to_thread(cluster_id, settings.kafka)
        stage = _Replay(settings, Codec(registry), places, cluster, slot=slot)
        try:
            await stage.start()
            ready()
            while not stop.is_set():
                await stage.round()
        finally:
            await stage.close()
    finally:
        places.close()
        registry.close()
