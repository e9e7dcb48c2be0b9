"""What the watch tells: findings of drift, and returns of canaries with their audit, each once.

Enters: findings and verdicts, at least once. Leaves: model.drifted.v1, and model.activated.v1 without the canary
together with audit.recorded.v1. Guaranteed: all of one call are written in one transaction; a finding is known by its
id, a return by the activation it ends, so that neither is written again after a restart, nor after a transaction whose
end nobody heard of: before anything more is told, that transaction has ended and the topics are read anew. An
activation that somebody has changed since the verdict stays as it is now, but for the moment between reading and
writing it. A second process with the same name fences the first, which leaves.
Rejected: streams/activations.write (the audit and the activation apart: a death between them would audit twice).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import KafkaException, Producer

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, Event, ModelActivated, ModelDrifted
from aios.sinks.canary import Trial, Verdict
from aios.sinks.watch_state import Drifted, is_of
from aios.streams import activations, carrying, failpoints
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Fenced, SchemaMismatch, Unavailable
from aios.streams.kafka import read_all
from aios.streams.record import Outgoing
from aios.streams.topics import AUDIT_RECORDED, MODEL_ACTIVATED, MODEL_DRIFTED, Topic
from aios.streams.topology import WATCH
from aios.streams.wall_clock import wall_ms

KNOWN_MAX = 100_000  # ids of findings: those that the topic keeps
INIT_S_MAX = 20.0
COMMIT_S_MAX = 10.0
TRANSACTION_MS_MAX = 10_000
BY_KEY = -1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Return:
    """A canary that must go back, and why."""

    trial: Trial
    verdict: Verdict


class Teller:
    """See the module. Of one thread at a time."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self._kafka = kafka
        self._codec = codec
        self._producer: Producer | None = None
        self._known: set[str] = set()

    def tell(
        self, drifted: Sequence[Drifted], returns: Sequence[Return]
    ) -> tuple[list[ModelDrifted], list[ModelActivated]]:
        """Write what is not written yet, and return that. Raises Unavailable (then again) and Fenced."""
        producer = self._producer or self._open()
        now_ms = wall_ms()
        found = [one for one in map(_drifted, drifted) if one.event_id not in self._known]
        serving = activations.read(self._kafka, self._codec) if returns else {}
        ended = [
            (one, serving[one.trial.model])
            for one in returns
            if one.trial.model in serving and is_of(one.trial, serving[one.trial.model])
        ]
        written = [_returned(one, before, now_ms) for one, before in ended]
        outs = [self._out(MODEL_DRIFTED, one, one.event_id, one.subject, now_ms) for one in found]
        for one, after in zip(ended, written, strict=True):
            outs += self._outs(one[0], one[1], after)
        if outs:
            self._write(producer, outs)
        self._known |= {one.event_id for one in found}
        return found, written

    def close(self) -> None:
        self._producer = None

    def _open(self) -> Producer:
        """The one producer of this name, after what an earlier one left has ended; and what is told already."""
        producer = Producer(
            client(
                self._kafka,
                **{
                    "transactional.id": WATCH.group,
                    "transaction.timeout.ms": TRANSACTION_MS_MAX,
                    "client.id": WATCH.group,
                    "partitioner": "murmur2_random",
                    "log_level": 0,
                },
            )
        )
        try:
            producer.list_topics(
                timeout=INIT_S_MAX
            )  # connected first: else the coordinator is looked for twice a second
            producer.init_transactions(INIT_S_MAX)
        except KafkaException as error:
            raise _error(error) from error
        self._known = set(self._told())
        self._producer = producer
        return producer

    def _told(self) -> Iterator[str]:
        """Ids of the newest KNOWN_MAX findings. One that cannot be read was not written by a watch."""
        newest: deque[str] = deque(maxlen=KNOWN_MAX)
        for record in read_all(self._kafka, MODEL_DRIFTED.name):
            try:
                newest.append(self._codec.decode(record.value, ModelDrifted).event_id)
            except SchemaMismatch as error:
                log.warning("skipped %s at offset %d: %s", record.topic, record.offset, error)
        yield from newest

    def _write(self, producer: Producer, outs: Sequence[Outgoing]) -> None:
        try:
            producer.begin_transaction()
            for out in outs:
                producer.produce(out.topic, out.value, out.key, BY_KEY, headers=list(out.headers))
            failpoints.hit("watch.telling")
            producer.commit_transaction(COMMIT_S_MAX)
        except KafkaException as error:
            self._producer = None  # whoever opens the next one learns how this transaction ended
            raise _error(error) from error
        failpoints.hit("watch.told")

    def _outs(self, one: Return, before: ModelActivated, after: ModelActivated) -> list[Outgoing]:
        """The activation and its audit."""
        event_id = ids.derive("canary returned", before.model, str(before.activated_at), str(before.canary_version))
        verdict = one.verdict
        audit = AuditRecorded(
            audit_id=ids.derive("audit", event_id),
            case_id=f"{MODEL_ACTIVATED.key}:{before.model}",
            tenant="",
            workflow="",
            case_seq=0,
            transition="canary_returned",
            actor=WATCH.name,
            detail=ids.canonical(
                {
                    "version": before.version,
                    "canary_version": before.canary_version,
                    "canary_permille": before.canary_permille,
                    "measure": verdict.measure,
                    "canary": verdict.canary,
                    "stable": verdict.stable,
                    "limit": verdict.limit,
                    "chance": verdict.chance,
                    "why": after.reason,
                }
            ),
            input_topic="",
            input_partition=-1,
            input_offset=-1,
            at=after.activated_at,
        )
        return [
            self._out(AUDIT_RECORDED, audit, audit.audit_id, audit.case_id, after.activated_at),
            self._out(MODEL_ACTIVATED, after, event_id, after.model, after.activated_at),
        ]

    def _out(self, topic: Topic, event: Event, event_id: str, key: str, now_ms: int) -> Outgoing:
        return carrying.outgoing(
            self._codec,
            topic,
            event,
            key=key,
            event_id=event_id,
            source=f"/aios/{WATCH.name}",
            subject=key,
            tenant="",
            time_ms=now_ms,
        )


def _returned(one: Return, before: ModelActivated, now_ms: int) -> ModelActivated:
    reason = f"canary {before.model}@{before.canary_version} returned: {one.verdict.reason}"
    return replace(
        activations.returned(before), reason=reason, by=WATCH.name, activated_at=max(now_ms, before.activated_at + 1)
    )


def _drifted(one: Drifted) -> ModelDrifted:
    """Its id is that of the move, not of the moment: a move that is found again after a restart is the same."""
    found = one.found
    return ModelDrifted(
        event_id=ids.derive("drifted", one.subject, one.measure, str(one.began_ms), str(found.number)),
        subject=one.subject,
        measure=one.measure,
        value=found.distance,
        limit=found.limit,
        test=found.test,
        chance=found.chance,
        reference_count=found.reference_count,
        window_count=found.window_count,
        window_from=found.first_ms,
        window_to=found.last_ms,
        detected_at=found.last_ms,
    )


def _error(error: KafkaException) -> Exception:
    said = error.args[0]
    if said.fatal():
        return Fenced(f"{WATCH.group}: another process tells what is found: {said.str()}")
    return Unavailable(f"Kafka does not take what is found: {said.str()}")
