"""An outside system that flaps, and the product's connectors in front of it, as processes of the simulated world.

Enters: commands of a workflow that asks for every kind of effect. Leaves: answers, intents, and effects, which are
counted at the outside system: it outlives whoever dies. What is the product's is used as it is: Commands, Calling,
Claims, Intents without its reader thread, Gate with its circuit, bulkhead and lines, Guard, Settler. What stands here
instead is the process around them: intake, delivery, and the connector's class, which sends what it is asked at once.

Not reached: circuits of endpoints, and going aside (what it can do names no endpoint, so all wait in the lines of
tenants); a process that is stopped between the check of its lease and the first byte that it sends (what it sends
when it wakes nobody can hold back); a step that is asked a second time while a clock is wrong by more than its
deadline (both are then under way).
"""

from __future__ import annotations

import asyncio
import bisect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import yaml
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from pydantic import BaseModel

from aios.dlq.in_hand import InHand, Quiet
from aios.infra.prove.simulation.kafka import SimulatedDeaths
from aios.infra.prove.simulation.log import Entry
from aios.infra.prove.simulation.loop import LoopActor
from aios.infra.prove.simulation.stages import HandsProcess
from aios.infra.prove.simulation.world import Slot, World
from aios.processors.connectors.calling import Calling
from aios.processors.connectors.claims import PROCESS
from aios.processors.connectors.command import Commands, Intending
from aios.processors.connectors.connector import Ask, CallFailed, Effect, Failure, Operation, Part, failure_of
from aios.processors.connectors.gate import Gate
from aios.processors.connectors.guard import Guard
from aios.processors.connectors.intents import Intents, _Followed
from aios.processors.connectors.opened import Opened
from aios.processors.language.workflow import Workflow
from aios.schemas.codec import Codec
from aios.schemas.models import ConnectorRequested
from aios.streams import installed, topology
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.kafka import Place
from aios.streams.record import Outgoing, Record
from aios.streams.system_files import Again, Circuit, Limits
from aios.streams.topics import CONNECTOR_INTENDED, MEETING_REQUESTED

EFFECTS = (Effect.RECONCILED, Effect.AT_LEAST_ONCE, Effect.AT_MOST_ONCE)
SYSTEM = installed.systems()["calendars"].model_copy(
    update={
        "limits": Limits(calls_max=4, rate_per_s=200, call_s_max=1.0, waiting_max=16),
        "again": Again(first_s=0.1, longest_s=2.0, unsure_s=1.0),
        "circuit": Circuit(failures_max=3, open_s=0.5, open_s_max=4.0),
    }
)
"""One of the shipped ones by its name, so that its topics and group are the product's; what it can do is said here."""
CONNECTING = next(stage for stage in topology.CONNECTORS if stage.name == f"connectors.{SYSTEM.system}")

WORKFLOW = f"""
workflow: order.settle
version: 1
owner: the simulation
about: Ask for every kind of effect, alone, at the same time, of each of a list, and after a wait.
input: {MEETING_REQUESTED.name}
objectives: {{interactive_p95_s: 60, bulk_p95_s: 900, without_person_min: 0.9}}
policy: {{parts: [1, 2, 3]}}
labels: {{}}
samples: [{{organiser: ada, text: settle it}}]
start: reserve
steps:
  reserve:
    connect:
      status: reserving
      system: {SYSTEM.system}
      operation: book
      request: {{what: input.text}}
      effect: reconciled
      deadline_s: {{interactive: 60, bulk: 600}}
      then: both
      on_error: {{reason: not_reserved, then: undone}}
  both:
    parallel:
      status: paying
      of:
        pay: {{connect: {{system: {SYSTEM.system}, operation: book, request: {{what: "'pay'"}}, effect: at_most_once,
          deadline_s: {{interactive: 60, bulk: 600}}}}}}
        tell: {{connect: {{system: {SYSTEM.system}, operation: book, request: {{what: "'tell'"}}, effect: at_least_once,
          deadline_s: {{interactive: 60, bulk: 600}}}}}}
      then: rest
      on_error: {{reason: not_paid, then: rest}}
  rest:
    wait: {{status: resting, for_s: 3, on_expiry: {{then: deliver}}}}
  deliver:
    map:
      status: delivering
      over: policy.parts
      items_max: 3
      each:
        connect: {{system: {SYSTEM.system}, operation: book, request: {{what: "'part'"}}, effect: reconciled,
          deadline_s: {{interactive: 60, bulk: 600}}}}
      then: look
      on_error: {{reason: not_delivered, then: undone}}
  look:
    connect:
      status: looking
      system: {SYSTEM.system}
      operation: look
      request: {{what: input.text}}
      deadline_s: {{interactive: 60, bulk: 600}}
      attempts_max: 2
      then: settled
      on_error: {{reason: not_seen, then: undone}}
  settled:
    emit: {{status: decided, outcome: settled, decided_by: "'policy'"}}
  undone:
    emit: {{status: decided, outcome: undone, decided_by: "'policy'"}}
"""

BECOMES = {  # of a call while the system flaps, with weights
    "well": 52,
    "away": 12,  # not even connected
    "busy": 6,
    "declined": 2,
    "lost": 10,  # done, and its answer lost
    "reset": 7,  # cut before anything was done
    "late": 7,  # done, behind everybody's patience
    "never": 4,
}
AWAY_S = (1.0, 12.0)
LATE_SHARE = 0.95  # of the moment that the system's file says it may go on for


class Order(Part):
    what: str


class Booked(BaseModel):
    number: int


OPERATIONS: Mapping[str, Operation] = {
    "book": Operation(request=Order, response=Booked, response_contract="booked.v1", effects=frozenset(EFFECTS)),
    "look": Operation(request=Order, response=Booked, response_contract="booked.v1"),
}


@lru_cache(maxsize=1)
def workflow() -> Workflow:
    return Workflow.model_validate(yaml.safe_load(WORKFLOW))


class Bank:
    """The outside system. done: effects by idempotency key; whoever is asked once more does it once more."""

    def __init__(self, world: World, flaps_ms: float) -> None:
        self._world = world
        self._flaps_ms = flaps_ms
        self.done: Counter[str] = Counter()
        draw = world.random
        starts = [draw.uniform(0, flaps_ms) for _ in range(draw.randint(0, 3))]
        self._away = [(start, start + 1_000 * draw.uniform(*AWAY_S)) for start in starts]

    def becomes(self) -> str:
        now = self._world.now
        if now >= self._flaps_ms:
            return "well"
        if any(start <= now < end for start, end in self._away):
            return "away"
        return self._world.random.choices(list(BECOMES), list(BECOMES.values()))[0]

    def does(self, key: str) -> None:
        self.done[key] += 1
        self._world.counts["effects"] += 1
        self._world.say(f"the system does {key}: {self.done[key]}")


class Asking:
    """The connector of one process: it sends at once, and hears what the system says while its process lives."""

    operations = OPERATIONS

    def __init__(self, world: World, process: ConnectorProcess, bank: Bank) -> None:
        self._world = world
        self._process = process
        self._bank = bank

    async def get(self, s_max: float) -> Asking:  # noqa: ARG002 - it is open
        return self

    async def call(self, operation: str, request: Order, ask: Ask) -> Booked:  # noqa: ARG002 - all of it is counted
        becomes = self._bank.becomes()
        if operation == "book" and becomes in ("well", "lost", "late"):
            most_s = SYSTEM.limits.call_s_max + SYSTEM.again.unsure_s * LATE_SHARE
            ms = most_s * 1_000 if becomes == "late" else self._world.random.uniform(1, 400)
            self._world.after(ms, lambda: self._bank.does(ask.idempotency_key))
        return await self._heard(becomes, ask)

    async def done(self, operation: str, request: Order, ask: Ask) -> Booked | None:  # noqa: ARG002
        becomes, was_done = self._bank.becomes(), self._bank.done[ask.idempotency_key]
        booked = await self._heard("well" if becomes == "declined" else becomes, ask)
        return booked if was_done else None

    def classify(self, error: Exception) -> Failure:
        return failure_of(error)

    async def _heard(self, becomes: str, ask: Ask) -> Booked:
        """Raises what it becomes."""
        said: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        error: Exception | None = {
            "away": ConnectionRefusedError(),
            "busy": CallFailed(Failure.TRANSIENT, "busy", "come again", again_after_s=0.5),
            "declined": CallFailed(Failure.REFUSED, "declined", "it is closed"),
            "lost": ConnectionResetError(),
            "reset": ConnectionResetError(),
        }.get(becomes)
        if becomes not in ("late", "never"):
            self._world.after(self._world.random.uniform(400, 800), lambda: self._process.hear(said, error))
        await said
        self._world.boundary(f"{PROCESS}.heard")
        return Booked(number=self._bank.done[ask.idempotency_key])


class SimulatedIntents(Intents):
    """processors/connectors/intents.py without its reader thread: what is wished for is read then."""

    def __init__(self, world: World, codec: Codec) -> None:
        super().__init__(KafkaSettings(), codec)
        self._world = world

    async def _wish(self, partition: int, since_ms: int, until: int | None) -> None:
        world = self._world
        log = world.cluster.partitions[CONNECTOR_INTENDED.name][partition]
        while True:
            await asyncio.sleep(world.random.uniform(0.001, 0.15))
            if world.cluster.away:
                continue
            world.boundary("intents.read")
            followed = self._followed.get(partition)
            if until is None and (followed is None or followed.since_ms > since_ms):
                start = bisect.bisect_left([entry.timestamp for entry in log.history], since_ms)
                followed = self._followed[partition] = _Followed(since_ms, start)
            if followed is not None:
                entries, end = log.read(followed.next, log.end + 1)
                for entry in entries:
                    self._put(followed, cast(Any, _Message(entry)))
                followed.next = end
                if until is None or followed.next >= until:
                    return


class _Message:
    """An entry as confluent-kafka's client hands it over."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def topic(self) -> str:
        return self._entry.topic

    def offset(self) -> int:
        return self._entry.offset

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, self._entry.timestamp

    def value(self) -> bytes | None:
        return self._entry.value


class _Troubled(Commands):
    """Decoding fails as the seed wants it."""

    trouble: Callable[[Record], Exception | None]
    world: World

    async def _decode(self, record: Record) -> ConnectorRequested:
        if self.world.registry_away:
            raise Unavailable("the simulated registry is away")
        if (error := self.trouble(record)) is not None:
            raise error
        return await super()._decode(record)


class ConnectorProcess(HandsProcess):
    """One lane of processors/connectors/serving.py."""

    def __init__(
        self, world: World, slot: Slot, codec: Codec, bank: Bank, trouble: Callable[[Record], Exception | None]
    ) -> None:
        super().__init__(world, slot, CONNECTING, PROCESS, in_flight_max=SYSTEM.limits.waiting_max)
        self._work = LoopActor(world, self)
        self.actors.append(self._work)
        quiet = Quiet()
        decoding, calling = (
            Guard(InHand(SimulatedDeaths(world, name), quiet), quiet)
            for name in (f"{CONNECTING.name}.decode", CONNECTING.name)
        )
        self._gate = Gate(SYSTEM, lambda change, _word: world.say(f"circuit {change.state}"), clock=self.monotonic)
        calls = Calling(
            SYSTEM,
            lambda: OPERATIONS,
            cast(Opened, Asking(world, self, bank)),
            self._gate,
            intents=SimulatedIntents(world, codec),
            intend=Intending(CONNECTING, codec, self),
            guard=calling,
            random=world.random,
            clock=self.monotonic,
        )
        self._commands = _Troubled(
            CONNECTING,
            calls,
            codec,
            intake=self,
            delivery=self,
            settler=self.settler,
            decoding=decoding,
            stopping=lambda: False,
        )
        self._commands.trouble, self._commands.world = trouble, world
        self._looks = False

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            self._work.start(self._commands.work(record))
        if records and not self._looks:
            self._looks = True
            self._work.start(self._look())

    def hear(self, said: asyncio.Future[None], error: Exception | None) -> None:
        """Called by the world: the system's answer reaches this process, if it lives."""
        if not self.is_alive or said.done():
            return
        if error is None:
            said.set_result(None)
        else:
            said.set_exception(error)
        self._work.wake()

    def die(self, why: str) -> None:
        super().die(why)
        self.bury()

    def bury(self) -> None:
        """It is over, by a death or with the world: what it has in hand reaches nothing."""
        self.is_alive = False
        before, self.world.current = self.world.current, self
        try:
            self._work.bury()
        finally:
            self.world.current = before

    # As streams/kafka.py's Intake and Delivery

    def finish(self, record: Record, cost: int | None = None) -> None:  # noqa: ARG002 - there is no order
        super().finish(record)

    def release(self, record: Record) -> None:
        self.hands.release(record)
        self.taker.wake()

    def owns(self, record: Record) -> bool:
        return self.hands.owns(record)

    def pause(self, topic: str, partition: int, for_ms: int) -> None:
        for lane in self.hands.of([(topic, partition)]):
            self.hands.give_back(lane)
            lane.resume_at = max(lane.resume_at, self.world.now + for_ms)
        self.taker.wake()

    async def deliver_all(self, outs: Sequence[Outgoing]) -> Sequence[Place]:
        await asyncio.sleep(self.world.random.uniform(0.001, 0.03))
        written = self.deliver(list(outs))
        await asyncio.sleep(self.world.random.uniform(0.001, 0.03))
        return [Place(one.topic, one.partition, one.offset, one.timestamp) for one in written]

    async def _look(self) -> None:
        """As long as there is anybody to look after."""
        while self._work.count > 1:
            self._gate.sweep()
            await asyncio.sleep(1.0)
        self._looks = False
