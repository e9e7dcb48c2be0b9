"""replay: carries out what operators ask of dead letters, replay jobs and breakers.

Enters: operation.requested.v1, in one partition, and by place the dead letters that it is about. Leaves: one
operation.answered.v1 for each request, and in the same transaction what it changed: what is remembered of letters and
jobs, letter.changed.v1, audit.recorded.v1, breaker.changed.v1, and what returns on <group>.retry. Between requests it
works off jobs and lets old letters expire. Its parts are in replaying/: jobs.py and sweep.py for that, planning.py for
what is asked of jobs, letters.py for one letter at a time.

Guaranteed: exactly once, whatever dies when, for a request, a slice of a job and all their effects are one
transaction; only groups of the topology get anything back, never a target of somebody's own choosing; only the very
record that was meant, for its id and generation are compared; who asks is looked up anew, by the name in the request,
which the operations process takes from the token. What has been done already is answered as done and changes nothing.

Rejected: writing back to the topic a record came from (others read it too); a request a letter (100,000 of them are no
job that anybody could approve, pause or look at).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from aios.dlq import breakers, commands, filters
from aios.dlq.breakers import BreakerTable
from aios.dlq.commands import (
    BreakerCommand,
    Command,
    JobCommand,
    Kind,
    LetterCommand,
    PlanCommand,
    Principals,
    Problem,
    Refused,
    Target,
    allowed,
)
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.deaths import Alone, Deaths
from aios.dlq.filters import Filter, FilterRefused
from aios.dlq.places import Places
from aios.dlq.settle import CLOSED
from aios.processors.admit import Admit
from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Live
from aios.processors.plan import Plan
from aios.processors.replaying import missed
from aios.processors.replaying.guard import Guard, Hands
from aios.processors.replaying.jobs import JobFailed, Jobs, Probe
from aios.processors.replaying.letters import Letters
from aios.processors.replaying.missed import MissedWalk, Positions
from aios.processors.replaying.planning import Planning
from aios.processors.replaying.prints import Prints
from aios.processors.replaying.probe import Probes, decoded
from aios.processors.replaying.recent import Recent
from aios.processors.replaying.records import Records
from aios.processors.replaying.sweep import EVERY_S, Sweep
from aios.processors.replaying.turn import NOBODY, Turn
from aios.processors.replaying.walk import LetterWalk, Source, Walk
from aios.processors.stateful import member
from aios.processors.stateful.state import Effects, StateView, Work
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged, OperationAnswered, OperationRequested, ReplayRemembered
from aios.schemas.registry import RegistrySource
from aios.streams import failpoints, reference, topics
from aios.streams.config import KafkaSettings, Settings, client
from aios.streams.deployments import Deployments
from aios.streams.errors import StateBroken, Unavailable
from aios.streams.kafka import cluster_id
from aios.streams.principals import PrincipalTable
from aios.streams.record import Outgoing, Record, Where
from aios.streams.tenants import TenantTable
from aios.streams.topology import ADMIT, REPLAY, RETRY

log = logging.getLogger(__name__)

ANSWER_S_MAX = 10.0
DONE, REFUSED = "done", "refused"


class Breakers(Protocol):
    """Every breaker as it is now."""

    def get(self, name: str) -> BreakerChanged | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the core is given beside its records.

    source: a new reader by place. positions: how far retry and admit have committed what they read. cluster: the Kafka
    cluster's id. partitions: of a family. retention_ms: of dead letters. settled_after_ms: when an event that
    went nowhere counts as missed. monotonic: seconds that pass, from any beginning.
    """

    source: Callable[[], Source]
    positions: Positions
    principals: Principals
    breakers: Breakers
    probe: Probe
    hands: Hands
    cluster: str
    default_tenant: str
    partitions: int
    retention_ms: int = topics.RETENTION_MS
    settled_after_ms: int = missed.SETTLED_AFTER_MS
    sweep_every_s: float = EVERY_S
    monotonic: Callable[[], float] = time.monotonic


class Replay:
    """The core; see the module."""

    def __init__(self, codec: Codec, world: World) -> None:
        self._codec = codec
        self._world = world
        self._guard = Guard(world.hands)
        self._recent = Recent()
        self._records = Records(codec, world.source, self._guard, world.default_tenant)
        self._jobs = Jobs(
            walk=self._walk,
            records=self._records,
            prints=Prints(codec, world.default_tenant),
            principals=world.principals,
            probe=world.probe,
            monotonic=world.monotonic,
            guard=self._guard,
        )
        self._planning = Planning(world.principals, self._jobs, self._records, world.positions, world.partitions)
        self._letters = Letters(codec, world.principals, self._records, self._guard, world.partitions)
        self._sweep = Sweep(
            world.source, world.partitions, world.monotonic, world.retention_ms, every_s=world.sweep_every_s
        )

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        """Raises SchemaMismatch for what is no request, Unavailable while what it needs is away."""
        failpoints.hit("replay.decode", record.value or b"")
        request = self._codec.decode(record.value, OperationRequested)
        asked = (record.topic, record.partition, record.offset)
        turn = self._turn(state, now_ms, asked)
        try:
            self._recent.expect(request)
            result = self._act(commands.parse(request), request, turn)
        except FilterRefused as error:
            return self._refuse(request, Refused(Problem.BAD_ARGUMENTS, str(error)), self._turn(state, now_ms, asked))
        except Refused as refused:
            return self._refuse(request, refused, self._turn(state, now_ms, asked))
        self._recent.done(request)
        self._answer(request, turn, DONE, result=result)
        return turn.effects or Effects()

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:  # noqa: ARG002 - see below
        """Never called by a state that fits. Raises StateBroken."""
        raise StateBroken(f"replay sets no timers, but its state holds {timer_id}; run `aios up --fresh`")

    def opened(self, state: StateView) -> None:
        self._guard.opened()
        self._jobs.opened(self._turn(state, 0))
        self._sweep.opened()

    def work(self, state: StateView, now_ms: int) -> Work:
        """A slice of a job; where none is due or can be read, a look at what is old. Raises Unavailable."""
        turn = self._turn(state, now_ms)
        try:
            stepped = self._jobs.step(turn)
        except Unavailable as error:
            log.warning("a replay job waits: %s", error)
            turn, stepped = self._turn(state, now_ms), False
        except JobFailed as failed:
            log.exception("replay job %s is given up", failed.job_id)
            turn, stepped = self._turn(state, now_ms), True
            self._jobs.give_up(failed.job_id, failed.__cause__, turn)
        if not stepped and self._sweep.in_ms() == 0:
            self._sweep.step(turn)
        waits = [ms for ms in (self._jobs.in_ms(), self._sweep.in_ms()) if ms is not None]
        return Work(turn.effects, min(waits))

    def close(self) -> None:
        """Let go of what reads."""
        self._jobs.close()
        self._records.close()
        self._sweep.close()

    def _turn(self, state: StateView, now_ms: int, asked: Where = NOBODY) -> Turn:
        return Turn(self._codec, state, now_ms, self._world.default_tenant, asked)

    def _walk(self, job: ReplayRemembered) -> Walk:
        wanted, source = filters.parse(job.filter), self._world.source()
        if job.kind == Target.MISSED:
            return MissedWalk(
                job,
                source,
                self._codec,
                cluster=self._world.cluster,
                selected=wanted,
                settled_after_ms=self._world.settled_after_ms,
                positions=self._world.positions,
                partitions=self._world.partitions,
            )
        return LetterWalk(job, source, lambda letter, record: self._selects(wanted, letter, record))

    def _selects(self, wanted: Filter, letter: DeadLetter, record: Record) -> bool | None:
        return wanted.answers(letter, record.headers, lambda: self._value(letter, record))

    def _value(self, letter: DeadLetter, record: Record) -> Any:
        """For a filter; None where it does not decode, or must not be decoded."""
        if self._guard.is_deadly(letter):
            return None
        return self._guard.decoding(letter, lambda: decoded(self._codec, letter, record.value))

    def _refuse(self, request: OperationRequested, refused: Refused, turn: Turn) -> Effects:
        """An answer, and nothing else. turn: a new one."""
        self._answer(request, turn, REFUSED, refused=refused)
        return turn.effects or Effects()

    def _answer(
        self,
        request: OperationRequested,
        turn: Turn,
        status: str,
        *,
        refused: Refused | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        answer = OperationAnswered(
            command_id=request.command_id,
            kind=request.kind,
            object_id=request.object_id,
            status=status,
            problem=refused.problem if refused else "",
            detail=refused.detail if refused else "",
            result=ids.canonical({**(result or {}), commands.ASKED: commands.sha256_of(request)}),
            answered_at=turn.now_ms,
        )
        event_id = ids.derive("operation-answered", request.command_id, str(turn.now_ms))
        turn.tell(topics.OPERATION_ANSWERED, answer, event_id=event_id, key=request.command_id, tenant="")

    def _act(self, command: Command, request: OperationRequested, turn: Turn) -> Mapping[str, Any]:
        """What the answer says. Raises Refused, FilterRefused, Unavailable."""
        match command:
            case LetterCommand():
                return self._letters.act(command, request, turn)
            case PlanCommand():
                return self._planning.plan(command, request, turn)
            case JobCommand():
                return self._planning.act(command, request, turn)
            case BreakerCommand():
                return self._close_breaker(request, turn)

    def _close_breaker(self, request: OperationRequested, turn: Turn) -> Mapping[str, Any]:
        breaker = self._world.breakers.get(request.object_id)
        if breaker is None:
            raise Refused(Problem.NOT_FOUND, "there is no such breaker; `aios breaker list` shows those that are open")
        allowed(
            self._world.principals,
            request.principal,
            Kind.CLOSE_BREAKER,
            frozenset({breaker.tenant}),
        )
        if breaker.state == CLOSED:
            return {"state": CLOSED}
        closed = breakers.closed(breaker, by=request.principal, now_ms=turn.now_ms)
        turn.send(breakers.outgoing(self._codec, closed))
        turn.audited_object(
            breaker.key,
            "breaker_closed",
            act=request.command_id,
            by=request.principal,
            detail={"why": request.reason, "reason": breaker.reason, "fingerprint": breaker.fingerprint},
            tenant=breaker.tenant,
        )
        return {"state": CLOSED}


def positions(kafka: KafkaSettings) -> dict[str, int]:
    """How far retry and then admit have committed what they read, by topic/partition. Raises Unavailable.

    Also of deployed workflows; in this order, because what retry returns admit reads.
    """
    admin = AdminClient(client(kafka, log_level=0))
    found: dict[str, int] = {}
    for stage in (RETRY, ADMIT):
        try:
            asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(stage.group)])
            answer = asked[stage.group].result(ANSWER_S_MAX).topic_partitions
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"Kafka does not say how far {stage.name} is: {error}") from error
        found |= {f"{place.topic}/{place.partition}": max(place.offset, 0) for place in answer}
    return found


async def run(settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """The shell; see stateful/member.py. Raises StateBroken or Unavailable before it is a member of the group."""
    kafka, registry = settings.kafka, RegistrySource(settings.registry.url)
    codec = Codec(registry)
    tables = tenants, principals, known, deployments = (
        TenantTable(kafka, codec),
        PrincipalTable(kafka, codec),
        BreakerTable(kafka, codec),
        Deployments(kafka, codec),
    )
    core: Replay | None = None
    deaths = Deaths(settings.home, REPLAY.name)
    try:
        await asyncio.to_thread(codec.warm, member.carriers(REPLAY))
        await reference.start(*tables)
        workflows = Live(workflow_files.shipped(), deployments)
        probe = Probes(
            codec,
            Admit(codec, tenants, workflows, settings.default_tenant),
            Plan(codec, workflows, topics.CASE_ADMITTED.partitions(kafka.partitions)),
        )
        world = World(
            source=lambda: Places(kafka),
            positions=lambda: positions(kafka),
            principals=principals,
            breakers=known,
            probe=probe,
            hands=Alone(deaths),
            cluster=await asyncio.to_thread(cluster_id, kafka),
            default_tenant=settings.default_tenant,
            partitions=kafka.partitions,
        )
        core = Replay(codec, world)
        await member.run_stage(REPLAY, core, codec, settings, slot=slot, stop=stop, ready=ready)
    finally:
        if core is not None:
            core.close()
        deaths.close()
        for table in tables:
            table.close()
        registry.close()
