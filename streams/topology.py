"""Every stage: what it reads, what it writes, its consumer group and its objective. The only source of these.

draw.py makes the README's graph of them; `aios topology` prints it; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from aios.streams import installed, topics
from aios.streams.pool_files import Pool
from aios.streams.system_files import System
from aios.streams.topics import RETRY_TIERS, Family, Tier, Topic


class Kind(StrEnum):
    """How a stage runs; infra/ starts each kind its own way."""

    GATEWAY = "gateway"
    FAUST = "faust"
    POOL = "pool"
    CONNECTOR = "connector"
    SINK = "sink"
    DLQ = "dlq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """p95_ms: from a record's broker timestamp to the acknowledged output. success: share without dead letter."""

    p95_ms: int
    success: float = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a stage's process does in Kafka beside its group, which access rules must allow and no graph draws.

    reads: followed whole, or looked up. writes: not as the outcome of what its group read. groups: what the names of
    groups begin with in which it keeps how far it has read. asks: groups whose positions it asks for. transaction: of
    its own, under the stage's group's name. looks_back: it fetches by their place records that any group took, and
    dead letters of any.
    """

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    groups: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    transaction: bool = False
    looks_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One role, one consumer group. process: stages with the same name run in one process (lanes share an engine).

    tiers: how long a record waits that failed for an unknown reason, each time longer; after the last it is a dead
    letter. breaks: whether breakers may open for it. skips: whether a stateless one goes on, loudly, behind what
    retention took before it was read; else it stops, for a person to decide.
    """

    name: str
    kind: Kind
    does: str  # one line for people
    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    process: str
    objective: Objective
    state_contracts: tuple[str, ...] | None = None  # stateful: its own records in the changelog; () = position only
    tiers: tuple[Tier, ...] = RETRY_TIERS
    breaks: bool = True
    skips: bool = True
    beside: Beside = Beside()

    @property
    def group(self) -> str:
        return f"aios.{self.name}"

    @property
    def attempts_max(self) -> int:
        """Of one record, the first included."""
        return 1 + len(self.tiers)

    @property
    def family(self) -> Family:
        """All inputs of a stateful stage share it; sinks read many and keep case order.

        Of a pool that of what failed, which is little, in no order: each partition costs its broker something.
        """
        if not self.reads or self.reads[0].family is Family.POOL:
            return Family.CASE
        return self.reads[0].family

    @property
    def dead_letters(self) -> Topic:
        return topics.dead_letters(self.group, self.family)

    @property
    def retries(self) -> Topic:
        return topics.retries(self.group, self.family)

    @property
    def changelog(self) -> Topic | None:
        if self.state_contracts is None:
            return None
        return topics.changelog(self.group, self.family, self.state_contracts)

    @property
    def inputs(self) -> tuple[Topic, ...]:
        """Everything its group subscribes to: what it reads and what returns to it."""
        return (*self.reads, self.retries) if self.reads else ()


def _pool(pool: Pool) -> Stage:
    return Stage(
        name=pool.pool,
        kind=Kind.POOL,
        does=pool.does,
        reads=(topics.inference_requested(pool.pool),),
        writes=(topics.INFERENCE_COMPLETED,),
        process=pool.process,
        objective=Objective(p95_ms=pool.objective.p95_ms, success=pool.objective.success),
        tiers=tuple(tier for tier in RETRY_TIERS if tier.name in pool.retries),
        beside=Beside(reads=(topics.inference_cancelled(pool.pool),), writes=(topics.FILES_ANNOUNCED,)),
    )


POOLS = tuple(_pool(pool) for pool in installed.pools().values())


RESCREENING = "aios.rescreening"
"""In front of the names of groups in which decided cases are screened again by a new version of a list."""

_SCREENING_AGAIN = Beside(
    reads=(topics.CONNECTOR_INTENDED, topics.CASE_DECIDED),
    writes=(topics.APPLICATION_SUBMITTED, topics.AUDIT_RECORDED),
    groups=(f"{RESCREENING}.",),
)


def connecting(system: System) -> Stage:
    """The stage of a system; those of all systems run in one process."""
    return Stage(
        name=f"connectors.{system.system}",
        kind=Kind.CONNECTOR,
        does=system.does,
        reads=(topics.connector_requested(system.system),),
        writes=(topics.CONNECTOR_COMPLETED, topics.CONNECTOR_INTENDED, topics.BREAKER_CHANGED),
        process="connectors",
        objective=Objective(p95_ms=system.objective.p95_ms, success=system.objective.success),
        skips=False,  # an effect that was asked for would be missing, and nobody would know
        beside=_SCREENING_AGAIN if system.connector == "sanctions" else Beside(reads=(topics.CONNECTOR_INTENDED,)),
    )


CONNECTORS = tuple(connecting(system) for system in installed.systems().values())

GATEWAY = Stage(
    name="gateway",
    kind=Kind.GATEWAY,
    does="HTTP in: cases, human decisions, outcomes",
    writes=(*topics.INPUTS, topics.REVIEW_DECIDED, topics.CASE_CANCELLED, topics.CASE_TOLD, topics.AUDIT_RECORDED),
    process="gateway",
    objective=Objective(p95_ms=100),
)
ADMIT = Stage(
    name="admit",
    kind=Kind.FAUST,
    does="contract, derived ids, tenant; re-keys by case",
    reads=topics.INPUTS,
    writes=(topics.CASE_ADMITTED, topics.EVENT_REFUSED, topics.AUDIT_RECORDED),
    process="admit",
    objective=Objective(p95_ms=200),
    state_contracts=(),
)
PLAN = Stage(
    name="plan",
    kind=Kind.FAUST,
    does="the workflow state machine: one event in, next commands out; judge of repeats",
    reads=(
        topics.CASE_ADMITTED,
        topics.BUDGET_ANSWERED,
        topics.INFERENCE_COMPLETED,
        topics.CONNECTOR_COMPLETED,
        topics.REVIEW_DECIDED,
        topics.CASE_TOLD,
        topics.CASE_CANCELLED,
        topics.TIMER_FIRED,
    ),
    writes=(
        *(pool.reads[0] for pool in POOLS),
        *(topics.inference_cancelled(pool.name) for pool in POOLS),
        *(system.reads[0] for system in CONNECTORS),
        topics.BUDGET_REQUESTED,
        topics.USAGE_SETTLED,
        topics.REVIEW_REQUESTED,
        topics.TIMER_FIRED,
        topics.CASE_DECIDED,
        topics.EVENT_REFUSED,
        topics.AUDIT_RECORDED,
    ),
    process="plan",
    objective=Objective(p95_ms=200),
    state_contracts=("case.remembered.v1", "pool.remembered.v1", "turn.remembered.v1", "parked.remembered.v1"),
    beside=Beside(writes=(topics.FILES_ANNOUNCED,)),
)
BUDGET = Stage(
    name="budget",
    kind=Kind.FAUST,
    does="reserves a case's most before its first call, and settles what it used; by tenant",
    reads=(topics.BUDGET_REQUESTED, topics.USAGE_SETTLED),
    writes=(topics.BUDGET_ANSWERED, topics.USAGE_SETTLED, topics.BUDGET_CHANGED),
    process="budget",
    objective=Objective(p95_ms=200),
    state_contracts=("account.remembered.v1", "reservation.remembered.v1"),
)
AUDIT = Stage(
    name="audit",
    kind=Kind.SINK,
    does="the one writer of the hash chain",
    reads=(topics.AUDIT_RECORDED,),
    process="audit",
    objective=Objective(p95_ms=2_000),
    skips=False,  # a chain with a hole proves nothing
)
RETRY = Stage(
    name="retry",
    kind=Kind.DLQ,
    does="holds what failed for an unknown reason until it is due, then returns it to its group",
    reads=tuple(tier.topic for tier in RETRY_TIERS),
    process="retry",
    objective=Objective(p95_ms=1_000),
)
REPLAY = Stage(
    name="replay",
    kind=Kind.FAUST,
    does="what operators ask: edits, replay jobs, breakers; returns dead letters to the group they failed in",
    reads=(topics.OPERATION_REQUESTED,),
    writes=(topics.OPERATION_ANSWERED, topics.LETTER_CHANGED, topics.BREAKER_CHANGED, topics.AUDIT_RECORDED),
    process="replay",
    objective=Objective(p95_ms=2_000),
    state_contracts=("letter.remembered.v1", "replay.remembered.v1"),
    breaks=False,  # it closes them, so none may stop it
    beside=Beside(reads=ADMIT.writes, asks=(RETRY.group, ADMIT.group), looks_back=True),  # events that were passed over
)
OPERATIONS = Stage(
    name="operations",
    kind=Kind.DLQ,
    does="HTTP for operators: dead letters, replay jobs, breakers",
    writes=(topics.OPERATION_REQUESTED, topics.AUDIT_RECORDED),
    process="operations",
    objective=Objective(p95_ms=500),
    beside=Beside(
        reads=(topics.OPERATION_ANSWERED, *([REPLAY.changelog] if REPLAY.changelog else [])), looks_back=True
    ),
)
_CONSUMING = (ADMIT, PLAN, BUDGET, *POOLS, *CONNECTORS, AUDIT, RETRY, REPLAY)
OUTCOMES = Stage(
    name="outcomes",
    kind=Kind.SINK,
    does="status, timeline, review tasks and waiting callers, in Valkey",
    reads=(topics.AUDIT_RECORDED, topics.CASE_DECIDED, topics.EVENT_REFUSED, topics.REVIEW_REQUESTED),
    process="outcomes",
    objective=Objective(p95_ms=500),
)
LAKE = Stage(
    name="lake",
    kind=Kind.SINK,
    does="Parquet for analysts",
    reads=(
        topics.CASE_DECIDED,
        topics.EVENT_REFUSED,
        topics.REVIEW_REQUESTED,
        topics.INFERENCE_COMPLETED,
        topics.USAGE_SETTLED,
        *(stage.dead_letters for stage in _CONSUMING),
    ),
    process="lake",
    objective=Objective(p95_ms=60_000),
)

WATCH = Stage(
    name="watch",
    kind=Kind.SINK,
    does="drift of models and workflows; returns a canary that misbehaves",
    reads=(
        topics.INFERENCE_COMPLETED,
        topics.CASE_DECIDED,
        topics.AUDIT_RECORDED,
        *(pool.dead_letters for pool in POOLS),  # a request that ends every engine has no answer
    ),
    writes=(topics.MODEL_DRIFTED, topics.MODEL_ACTIVATED, topics.AUDIT_RECORDED),
    process="watch",
    objective=Objective(p95_ms=5_000),
    beside=Beside(reads=(topics.MODEL_DRIFTED,), transaction=True),  # what it has told is told once
)
_LETTERS = "letters"
LETTERS = Stage(
    name=_LETTERS,
    kind=Kind.SINK,
    does="where every dead letter stands, in Valkey; those given up, archived",
    reads=(
        topics.LETTER_CHANGED,
        *(stage.dead_letters for stage in (*_CONSUMING, OUTCOMES, LAKE, WATCH)),
        topics.dead_letters(f"aios.{_LETTERS}", Family.CASE),  # its own, of changes that nobody can read
    ),
    process=_LETTERS,
    objective=Objective(p95_ms=500),
    beside=Beside(looks_back=True),  # the archive holds what failed, also where the letter only names its place
)

STAGES = (
    GATEWAY,
    ADMIT,
    PLAN,
    BUDGET,
    *POOLS,
    *CONNECTORS,
    OUTCOMES,
    AUDIT,
    LAKE,
    WATCH,
    LETTERS,
    RETRY,
    REPLAY,
    OPERATIONS,
)
BY_NAME = {stage.name: stage for stage in STAGES}
PROCESSES = tuple(dict.fromkeys(stage.process for stage in STAGES))


def all_topics() -> dict[str, Topic]:
    """Every topic that must exist, by name."""

    def declared() -> Iterator[Topic]:
        yield from topics.EVENTS
        for stage in STAGES:
            yield from stage.reads
            yield from stage.writes
            if stage.reads:
                yield stage.dead_letters
                yield stage.retries
            if stage.changelog is not None:
                yield stage.changelog

    return topics.distinct(declared())


def taking(inputs: Iterable[Topic]) -> tuple[Stage, ...]:
    """The stages where workflows are deployed whose input enters by these topics, beside the shipped ones."""
    more = tuple(inputs)
    wider = {
        GATEWAY.name: replace(GATEWAY, writes=(*GATEWAY.writes, *more)),
        ADMIT.name: replace(ADMIT, reads=(*ADMIT.reads, *more)),
    }
    return tuple(wider.get(stage.name, stage) for stage in STAGES)


def pool_of(model: str, lane: str) -> Stage:
    """The pool that serves a model in a lane. Raises KeyError when there is none."""
    return BY_NAME[f"{model}.{lane}"]
