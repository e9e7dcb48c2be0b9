"""Who stands around the system in the simulated world: producers, reviewers, and the broken things they send.

Enters: draws of the seed. Leaves: records as the gateway or a foreign producer writes them: good ones, the same key
again (at once, or while the first is under way), another body under a key, bytes that nobody can read, records of a
foreign contract, texts that end whoever decodes them; and what people decide: once, twice, too late, never, for a
label that was not offered, for another tenant's case, into a partition where the case does not live; and who calls a
case off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from aios.dlq.commands import Command, JobCommand, Kind, PlanCommand, requested
from aios.infra.prove.simulation.log import Entry
from aios.infra.prove.simulation.world import World
from aios.schemas.codec import Codec
from aios.schemas.models import (
    AuditRecorded,
    CaseCancelled,
    DocumentReceived,
    MeetingRequested,
    OperationRequested,
    PrincipalRegistered,
    ReviewDecided,
    ReviewRequested,
)
from aios.streams import carrying, topics
from aios.streams.record import Outgoing
from aios.streams.topics import Topic

TENANT = "demo"
KILLERS = {"admit": "SEGV-ADMIT", "plan": "SEGV-PLAN", "classify": "SEGV-CLASSIFY"}
"""Words in a text that end the process of that name when it decodes them."""

KINDS = {
    "good": 62,
    "order": 14,
    "repeat": 12,
    "conflict": 6,
    "empty_text": 2,
    "no_tenant": 2,
    "undecodable": 3,
    "foreign": 2,
    "nothing": 1,
    "segv_admit": 1,
    "segv_plan": 1,
    "segv_classify": 1,
}
REVIEW_SHARE_NEVER = 0.15
CANCEL_SHARE = 0.12


@dataclass(slots=True)
class Published:
    """What producers know: the place of every record that was acknowledged to them, and its kind."""

    acknowledged: dict[tuple[str, int, int], str] = field(default_factory=dict)
    keys: list[tuple[str, str, str]] = field(default_factory=list)  # key, text, channel


class Producers:
    """Publish count records within for_ms."""

    def __init__(self, world: World, codec: Codec, count: int, for_ms: float) -> None:
        self._world = world
        self._codec = codec
        self.published = Published()
        draw = world.random
        kinds = draw.choices(list(KINDS), weights=list(KINDS.values()), k=count)
        for number, kind in enumerate(kinds):
            self._later(draw.uniform(0, for_ms), number, kind)

    def _later(self, ms: float, number: int, kind: str) -> None:
        self._world.after(ms, lambda: self._publish(number, kind))

    def _publish(self, number: int, kind: str) -> None:
        self._send(self._record(number, kind), kind)
        if kind == "order" and self._world.random.random() < 0.3:
            self._send(self._record(number, kind), kind)  # again
        if kind == "good" and self._world.random.random() < 0.05:
            self._send(self._record(number, "repeat"), "repeat")  # at the same time

    def _send(self, out: Outgoing, kind: str) -> None:
        """Until it is acknowledged, as producers do; some acknowledgements are lost."""
        world = self._world
        if world.cluster.away:
            world.after(world.random.uniform(200, 900), lambda: self._send(out, kind))
            return
        entry = world.cluster.append(out)
        if world.random.random() < 0.03:
            world.after(world.random.uniform(50, 3_000), lambda: self._send(out, kind))
            return
        self.published.acknowledged[entry.topic, entry.partition, entry.offset] = kind

    def _record(self, number: int, kind: str) -> Outgoing:
        draw, known = self._world.random, self.published.keys
        name = topics.DOCUMENT_RECEIVED.name
        partition = draw.randrange(len(self._world.cluster.partitions[name]))
        if kind == "order":
            return self._order(number)
        if kind == "undecodable":
            return Outgoing(name, b"k", draw.randbytes(12), (), partition)
        if kind == "nothing":
            return Outgoing(name, b"k", None, (), partition)
        if kind == "foreign":
            return Outgoing(name, b"k", self._codec.encode(topics.AUDIT_RECORDED, _foreign(number)), (), partition)
        key, text, channel = f"k{number}", f"text {number}", draw.choice(("letter", "message"))
        if kind in ("repeat", "conflict") and known:
            key, text, channel = draw.choice(known)
            text += " again" if kind == "conflict" else ""
        elif kind.startswith("segv_"):
            text = KILLERS[kind.removeprefix("segv_")]
        elif kind == "empty_text":
            text = " "
        if kind in ("good", "repeat"):
            known.append((key, text, channel))
        event = DocumentReceived(
            text=text,
            event_id=f"e{number}-{draw.randrange(1 << 30)}",
            idempotency_key=key,
            tenant="nobody" if kind == "no_tenant" else TENANT,
            channel=channel,
            lane=draw.choice(("interactive", "interactive", "bulk")),
        )
        value = self._codec.encode(topics.DOCUMENT_RECEIVED, event)
        return Outgoing(name, key.encode(), value, (), partition)

    def _order(self, number: int) -> Outgoing:
        """For the workflow that asks an outside system."""
        draw, name = self._world.random, topics.MEETING_REQUESTED.name
        event = MeetingRequested(
            organiser="ada",
            text=f"order {number}",
            event_id=f"o{number}",
            idempotency_key=f"o{number}",
            tenant=TENANT,
            lane=draw.choice(("interactive", "bulk")),
        )
        partition = draw.randrange(len(self._world.cluster.partitions[name]))
        value = self._codec.encode(topics.MEETING_REQUESTED, event)
        return Outgoing(name, event.idempotency_key.encode(), value, (), partition)


def _foreign(number: int) -> AuditRecorded:
    return AuditRecorded(
        audit_id=f"a{number}",
        case_id="c",
        tenant=TENANT,
        workflow="w",
        case_seq=1,
        transition="t",
        actor="somebody",
        detail="{}",
        input_topic="t",
        input_partition=0,
        input_offset=0,
        at=0,
    )


class _Reads(ABC):
    """Reads a topic as it grows, and sends what it makes of it; while the cluster is away, later."""

    def __init__(self, world: World, codec: Codec, topic: Topic, away_ms: float) -> None:
        self._world = world
        self._codec = codec
        self._topic = topic.name
        self._away_ms = away_ms
        self._next: dict[int, int] = {}
        world.readers[self._topic].append(self._read)

    @abstractmethod
    def _think(self, entry: Entry) -> None:
        """One entry."""

    def _read(self, partition: int) -> None:
        log = self._world.cluster.partitions[self._topic][partition]
        entries, self._next[partition] = log.read(self._next.get(partition, 0), 1_000)
        for entry in entries:
            self._think(entry)

    def _send(self, out: Outgoing) -> None:
        if self._world.cluster.away:
            self._world.after(self._away_ms, partial(self._send, out))
            return
        self._world.cluster.append(out)


class Reviewers(_Reads):
    """Answer what they are asked, each as the seed has it."""

    def __init__(self, world: World, codec: Codec) -> None:
        super().__init__(world, codec, topics.REVIEW_REQUESTED, away_ms=700)
        self._count = 0

    def _think(self, entry: Entry) -> None:
        world, draw = self._world, self._world.random
        task = self._codec.decode(entry.value, ReviewRequested)
        if draw.random() < REVIEW_SHARE_NEVER:
            return
        for _ in range(2 if draw.random() < 0.25 else 1):
            slow = draw.random() < 0.2
            ms = draw.uniform(3.6e6, 80 * 3.6e6) if slow else draw.uniform(300, 40_000)
            world.after(ms, partial(self._send, self._decision(task)))

    def _decision(self, task: ReviewRequested) -> Outgoing:
        draw = self._world.random
        self._count += 1
        odd = draw.choices(("", "label", "tenant", "partition", "reviewer"), (80, 6, 5, 5, 4))[0]
        event = ReviewDecided(
            event_id=f"r{self._count}",
            task_id=task.task_id,
            case_id=task.case_id,
            tenant="other" if odd == "tenant" else task.tenant,
            label="no such label" if odd == "label" else draw.choice(task.choices),
            reviewer="" if odd == "reviewer" else f"person{draw.randrange(3)}",
            decided_at=self._world.broker_ms(),
        )
        wrong = draw.randrange(len(self._world.cluster.partitions[topics.REVIEW_DECIDED.name]))
        return carrying.outgoing(
            self._codec,
            topics.REVIEW_DECIDED,
            event,
            key=task.case_id,
            event_id=event.event_id,
            source="/aios/gateway",
            subject=event.case_id,
            tenant=event.tenant,
            time_ms=event.decided_at,
            partition=wrong if odd == "partition" else None,
        )


class Cancellers(_Reads):
    """Call some cases off: at once, while they wait for a turn, a model or a person, once they are decided; some twice.

    As at the gateway, not before plan has seen the case.
    """

    def __init__(self, world: World, codec: Codec) -> None:
        super().__init__(world, codec, topics.AUDIT_RECORDED, away_ms=500)

    def _think(self, entry: Entry) -> None:
        world, draw = self._world, self._world.random
        case = self._codec.decode(entry.value, AuditRecorded)
        if case.transition != "admitted" or draw.random() >= CANCEL_SHARE:
            return
        event = CaseCancelled(
            event_id=f"x{case.audit_id}",
            case_id=case.case_id,
            tenant=case.tenant,
            reason="withdrawn",
            by=draw.choice(("producer", "operator:ada")),
            cancelled_at=world.broker_ms(),
        )
        out = carrying.outgoing(
            self._codec,
            topics.CASE_CANCELLED,
            event,
            key=case.case_id,
            event_id=event.event_id,
            source="/aios/gateway",
            subject=event.case_id,
            tenant=event.tenant,
            time_ms=event.cancelled_at,
        )
        for _ in range(2 if draw.random() < 0.2 else 1):
            world.after(
                draw.choice((1.0, draw.uniform(20, 3_000), draw.uniform(3_000, 90_000))), partial(self._send, out)
            )


class Operators:
    """Plan replay jobs over all dead letters, approve and run them; ask twice, pause, and go on."""

    def __init__(self, world: World, codec: Codec, plans_ms: Sequence[float]) -> None:
        self._world = world
        self._codec = codec
        self.jobs: list[str] = []
        for number, ms in enumerate(plans_ms):
            world.at(ms, partial(self._plan, number))

    def _plan(self, number: int) -> None:
        draw = self._world.random
        plan = self._asks("ada", PlanCommand(rate_per_s=draw.choice((0, 0, 5))), f"plan {number}")
        job = plan.object_id
        self.jobs.append(job)
        self._send(plan, again=True)
        steps = [("kim", Kind.APPROVE), ("ada", Kind.RUN)]
        if draw.random() < 0.3:
            steps += [("ada", Kind.PAUSE), ("ada", Kind.RESUME)]
        ms = 0.0
        for round_ in (0.0, 0.0, 600_000.0):  # what comes before the dry run is over is refused, and asked once more
            ms += round_
            ms = self._steps(number, job, steps, ms)

    def _steps(self, number: int, job: str, steps: Sequence[tuple[str, Kind]], ms: float) -> float:
        for who, kind in steps:
            ms += self._world.random.uniform(300, 4_000)
            asks = self._asks(who, JobCommand(kind=kind), f"{number} {kind} {ms}", job)
            self._world.after(ms, partial(self._send, asks))
        return ms

    def _asks(self, who: str, command: Command, key: str, object_id: str = "") -> OperationRequested:
        now_ms = self._world.broker_ms()
        return requested(command, object_id=object_id, principal=who, key=key, reason="a drill", now_ms=now_ms)

    def _send(self, asks: OperationRequested, *, again: bool = False) -> None:
        """again: it is asked twice, as by somebody who had no answer."""
        if self._world.cluster.away:
            self._world.after(600, partial(self._send, asks, again=again))
            return
        value = self._codec.encode(topics.OPERATION_REQUESTED, asks)
        self._world.cluster.append(Outgoing(topics.OPERATION_REQUESTED.name, asks.object_id.encode(), value))
        if again:
            self._world.after(self._world.random.uniform(50, 2_000), partial(self._send, asks))


class Principals:
    """Who may operate."""

    def get(self, name: str) -> PrincipalRegistered | None:
        roles = {"ada": ("operator",), "kim": ("approver",)}.get(name)
        if roles is None:
            return None
        return PrincipalRegistered(name=name, roles=roles, tenants=(), token_hashes=(), active=True, registered_at=0)
