"""Every topic: name, contracts, key, family, retention. The only source of these.

A family is a set of topics with the same key and therefore the same number of partitions, fixed at
creation: records that belong together meet in partitions of the same number. Topics are created
from this list by `aios up`, never automatically.

Names are `noun.past_participle.v1` for events; a consumer group's own topics carry its name:
`<group>.dlq` (what it could not process), `<group>.retry` (what returns to it, and to it alone),
`<group>.state` (changelog of a stateful group).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from aios.streams.durations import DAY_MS, HOUR_MS, MINUTE_MS

RECORD_BYTES_MAX = 1 << 20  # value, key and headers of one record; larger inputs travel by reference
DEAD_LETTER_BYTES_MAX = RECORD_BYTES_MAX + (64 << 10)  # the original plus our headers
EVALUATION = "model.evaluation"  # as workflow of a command that no case asks: a version is judged
RETENTION_HOURS = 30 * 24  # the idempotency window; source, retry and dead letters keep no longer
RETENTION_MS = RETENTION_HOURS * HOUR_MS
SEGMENT_HOURS = 7 * 24  # Kafka deletes whole segments: a record may lie so much longer than it is kept
CANCELLED_HOURS = 7 * 24  # as long as a command may be worth an answer (Deadline of a workflow's step)
SYSTEMS_MAX = 1_024  # whose topics are made once
POOL_PARTITIONS_MIN = 32  # workers share a pool among tenants by these: with fewer, tenants meet in one too often


class Family(StrEnum):
    """Topics that share a key and a partition count."""

    SOURCE = "source"  # any key: the producer's own
    CASE = "case"  # keyed by case id
    TENANT = "tenant"  # keyed by tenant: money
    POOL = "pool"  # commands to models, keyed by tenant and slot (streams/slots.py), over more partitions
    REFERENCE = "reference"  # small compacted tables, one partition, read whole by whoever needs them


class Cleanup(StrEnum):
    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """name: as on the broker. contracts: names of schemas/avro files; empty: bytes of others, kept as they are."""

    name: str
    contracts: tuple[str, ...]
    key: str  # same key → same partition → in order
    family: Family
    cleanup: Cleanup = Cleanup.DELETE
    retention_hours: int = RETENTION_HOURS
    bytes_max: int = RECORD_BYTES_MAX
    ordered: bool = False  # behind a record of a key that failed, its later ones wait (dlq/parking.py)

    def partitions(self, per_family: int) -> int:
        """per_family: the deployment's count (6 on one machine, 48 in production)."""
        match self.family:
            case Family.REFERENCE:
                return 1
            case Family.POOL:
                return max(POOL_PARTITIONS_MIN, per_family)
        return per_family

    def subject(self, contract: str) -> str:
        """Registry subject: TopicNameStrategy; a topic of several contracts adds the contract's name."""
        if contract not in self.contracts:
            raise ValueError(f"{self.name} does not carry {contract}")
        return f"{self.name}-value" if len(self.contracts) == 1 else f"{self.name}-{contract}"

    def config(self) -> dict[str, str]:
        """Broker settings of the topic, all explicit. Time is the broker's; changelogs compact early."""
        base = {
            "max.message.bytes": str(self.bytes_max),
            "cleanup.policy": str(self.cleanup),
            "message.timestamp.type": "LogAppendTime",  # a producer's wrong clock fires no timer and ages no record
        }
        if self.cleanup is Cleanup.DELETE:
            return base | {
                "retention.ms": str(self.retention_hours * HOUR_MS),
                "segment.ms": str(SEGMENT_HOURS * HOUR_MS),
            }
        return base | {
            "segment.ms": str(10 * MINUTE_MS),
            "segment.bytes": str(32 << 20),
            "min.cleanable.dirty.ratio": "0.1",
            "delete.retention.ms": str(DAY_MS),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One delay before a record that failed returns to its group.

    All groups share its topic, and the record says to whom it returns.
    """

    name: str
    after_ms: int

    @property
    def topic(self) -> Topic:
        return Topic(
            name=f"aios.retry.{self.name}",
            contracts=(),
            key="as it failed",
            family=Family.CASE,
            bytes_max=DEAD_LETTER_BYTES_MAX,
        )


RETRY_TIERS = (
    Tier(name="5s", after_ms=5_000),
    Tier(name="1m", after_ms=MINUTE_MS),
    Tier(name="10m", after_ms=10 * MINUTE_MS),
)
"""Every delay, shortest first. A stage's own (streams/topology.py) are some of these, in this order."""


def _event(name: str, family: Family, key: str, contract: str = "", *, ordered: bool = False) -> Topic:
    return Topic(name=name, contracts=(contract or name,), key=key, family=family, ordered=ordered)


def _table(name: str, key: str) -> Topic:
    """A small compacted table that whoever needs it reads whole."""
    return Topic(name=name, contracts=(name,), key=key, family=Family.REFERENCE, cleanup=Cleanup.COMPACT)


DOCUMENT_RECEIVED = _event("document.received.v1", Family.SOURCE, "the producer's own")
APPLICATION_SUBMITTED = _event("kyc.application.submitted.v1", Family.SOURCE, "the producer's own")
MEETING_REQUESTED = _event("meeting.requested.v1", Family.SOURCE, "the producer's own")
CASE_ADMITTED = _event("case.admitted.v1", Family.CASE, "case id", ordered=True)
EVENT_REFUSED = _event("event.refused.v1", Family.CASE, "case id, else event id")
INFERENCE_COMPLETED = _event("inference.completed.v1", Family.CASE, "case id", ordered=True)
REVIEW_REQUESTED = _event("review.requested.v1", Family.CASE, "case id")
REVIEW_DECIDED = _event("review.decided.v1", Family.CASE, "case id", ordered=True)
TIMER_FIRED = _event("timer.fired.v1", Family.CASE, "case id")
CASE_DECIDED = _event("case.decided.v1", Family.CASE, "case id")
AUDIT_RECORDED = _event("audit.recorded.v1", Family.CASE, "case id, else the object's id")
OPERATION_REQUESTED = _event("operation.requested.v1", Family.REFERENCE, "object id")
OPERATION_ANSWERED = _event("operation.answered.v1", Family.REFERENCE, "command id")
LETTER_CHANGED = _event("letter.changed.v1", Family.CASE, "dead letter id")
BREAKER_CHANGED = _table("breaker.changed.v1", "breaker")
PRINCIPAL_REGISTERED = _table("principal.registered.v1", "principal")
TENANT_REGISTERED = _table("tenant.registered.v1", "tenant")
CASE_CANCELLED = _event("case.cancelled.v1", Family.CASE, "case id", ordered=True)
BUDGET_REQUESTED = _event("budget.requested.v1", Family.TENANT, "tenant")
BUDGET_ANSWERED = _event("budget.answered.v1", Family.CASE, "case id", ordered=True)
USAGE_SETTLED = _event("usage.settled.v1", Family.TENANT, "tenant")
MODEL_DRIFTED = _event("model.drifted.v1", Family.REFERENCE, "subject")
MODEL_ACTIVATED = _table("model.activated.v1", "model")
PROMPT_ACTIVATED = _table("prompt.activated.v1", "prompt")
BUDGET_DECLARED = _table("budget.declared.v1", "budget")
BUDGET_CHANGED = _table("budget.changed.v1", "budget")
CASE_TOLD = _event("case.told.v1", Family.CASE, "case id", ordered=True)
CONNECTOR_INTENDED = _event("connector.intended.v1", Family.CASE, "case id")
CONNECTOR_COMPLETED = _event("connector.completed.v1", Family.CASE, "case id", ordered=True)
WORKFLOW_DEPLOYED = _table("workflow.deployed.v1", "deployment")
WORKFLOW_ACTIVATED = _table("workflow.activated.v1", "workflow")
LIST_PUBLISHED = _table("list.published.v1", "list")
FILES_ANNOUNCED = _table("files.announced.v1", "member")

EVENTS = (
    DOCUMENT_RECEIVED,
    APPLICATION_SUBMITTED,
    MEETING_REQUESTED,
    CASE_ADMITTED,
    EVENT_REFUSED,
    INFERENCE_COMPLETED,
    REVIEW_REQUESTED,
    REVIEW_DECIDED,
    TIMER_FIRED,
    CASE_DECIDED,
    AUDIT_RECORDED,
    OPERATION_REQUESTED,
    OPERATION_ANSWERED,
    LETTER_CHANGED,
    BREAKER_CHANGED,
    PRINCIPAL_REGISTERED,
    TENANT_REGISTERED,
    CASE_CANCELLED,
    BUDGET_REQUESTED,
    BUDGET_ANSWERED,
    USAGE_SETTLED,
    MODEL_DRIFTED,
    MODEL_ACTIVATED,
    PROMPT_ACTIVATED,
    BUDGET_DECLARED,
    BUDGET_CHANGED,
    CASE_TOLD,
    CONNECTOR_INTENDED,
    CONNECTOR_COMPLETED,
    WORKFLOW_DEPLOYED,
    WORKFLOW_ACTIVATED,
    LIST_PUBLISHED,
    FILES_ANNOUNCED,
)

INPUTS = (DOCUMENT_RECEIVED, APPLICATION_SUBMITTED, MEETING_REQUESTED)
"""Where the input of workflows enters that this release ships; others come with workflows that are deployed."""

SOURCES: Mapping[str, Topic] = {
    "document.triage": DOCUMENT_RECEIVED,
    "kyc.review": APPLICATION_SUBMITTED,
    "meeting.schedule": MEETING_REQUESTED,
}
"""Of each shipped workflow; a test compares this with the shipped workflow files."""


def source(contract: str) -> Topic:
    """Where events of an input contract enter."""
    return _event(contract, Family.SOURCE, "the producer's own")


def inference_requested(pool: str) -> Topic:
    """Commands to one pool, e.g. `classify.bulk`."""
    return _event(f"inference.{pool}.requested.v1", Family.POOL, "tenant and slot", "inference.requested.v1")


def inference_cancelled(pool: str) -> Topic:
    """Commands to one pool that nobody waits for any more; every worker of the pool reads its tail."""
    return Topic(
        name=f"inference.{pool}.cancelled.v1",
        contracts=("inference.cancelled.v1",),
        key="request id",
        family=Family.REFERENCE,
        retention_hours=CANCELLED_HOURS,
    )


@lru_cache(maxsize=SYSTEMS_MAX)
def connector_requested(system: str) -> Topic:
    """Commands to one outside system, e.g. `sanctions`."""
    return _event(f"connector.{system}.requested.v1", Family.CASE, "case id", "connector.requested.v1")


def dead_letters(group: str, family: Family) -> Topic:
    """What the group could not process: original key, bytes and headers."""
    return Topic(name=f"{group}.dlq", contracts=(), key="as it failed", family=family, bytes_max=DEAD_LETTER_BYTES_MAX)


def retries(group: str, family: Family) -> Topic:
    """What returns to the group, and to no other; same partition number as where it failed."""
    return Topic(
        name=f"{group}.retry", contracts=(), key="as it failed", family=family, bytes_max=DEAD_LETTER_BYTES_MAX
    )


def changelog(group: str, family: Family, state_contracts: tuple[str, ...]) -> Topic:
    """State of a stateful group: positions, timers and its own records, compacted."""
    return Topic(
        name=f"{group}.state",
        contracts=("position.remembered.v1", "timer.remembered.v1", *state_contracts),
        key="state key",
        family=family,
        cleanup=Cleanup.COMPACT,
    )


def distinct(topics: Iterator[Topic]) -> dict[str, Topic]:
    """By name; two different declarations of one name are a programming error."""
    found: dict[str, Topic] = {}
    for topic in topics:
        if found.setdefault(topic.name, topic) != topic:
            raise ValueError(f"{topic.name} is declared twice, differently")
    return found
