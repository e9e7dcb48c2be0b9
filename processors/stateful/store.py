"""One fenced store per partition: outputs, state, timers and position of a micro-batch become visible together.

Enters: batches of records of one partition number, of all inputs of the stage. Leaves: the core's outputs, the dead
letters and retries of what failed, and the changelog, all in one transaction of `<group>.<partition>`.

How a micro-batch goes, in this order:
 1. records below the position are skipped: their effects are known to be out;
 2. the core runs on each record, its changes in an overlay; what fails is dropped with all its changes and its dead
    letter (or retry) takes its place, and from an ordered topic it holds its key: later ones follow it untried
    (dlq/parking.py); sizes are checked here, because an oversized record would end the transaction;
 3. begin; outputs; changed states, timers and held keys, one record a key; the position, last; commit;
 4. only now the overlay becomes the state, and the offsets may move (app.py).

Guaranteed: a record's effects are committed once, whatever dies when; a process that lost the partition is fenced by
the broker before it can write; nothing is processed before the state is complete, nor on topics that do not fit it
(ground.py); records that were passed over on the way here stop the process. Any error of a transaction
ends the process: nothing is acknowledged, and the next owner begins at the position.

A record that kills its process is found by marks outside it (dlq/deaths.py): after a death the range in hand goes
record by record, each with nothing else in hand of the whole process (company.py), and the one that keeps killing is
dead-lettered unread.

Rejected: state in faust.Table (repeats and loses on restart), retrying a transaction on the same producer after a
timeout (the late commit may hit a later transaction), one transaction a record after a death (the marks alone name
the culprit, and a kill -9 in a full batch would cost seconds).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Message

from aios.dlq import envelope, parking
from aios.dlq.deaths import Deaths, given_up
from aios.dlq.parking import Way
from aios.dlq.settle import Settlement, Settler
from aios.processors.stateful import changelog, ground
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.changelog import Remembered, end_headers, timer_of
from aios.processors.stateful.company import Company
from aios.processors.stateful.draft import RECORDS_MAX, Draft, size_of
from aios.processors.stateful.ground import Ground
from aios.processors.stateful.log import BY_KEY, Log, Transactions
from aios.processors.stateful.state import FORGET, Core, Telling, Working
from aios.schemas.codec import Codec
from aios.schemas.models import ParkedRemembered as Parked
from aios.schemas.models import PositionRemembered, TimerRemembered
from aios.streams import failpoints, metrics, tracing
from aios.streams.errors import Fenced, RecordError, StateBroken, Verdict
from aios.streams.log_clock import LogClock, passed_s
from aios.streams.overtaken import Overtaken
from aios.streams.record import CREATED, Outgoing, Record
from aios.streams.topics import Topic
from aios.streams.topology import Stage

FIRED_MAX = 500  # timers of one tick
SURVEY_MS_MIN = 200  # between two questions where the inputs end
COMMIT_S_MAX = 10.0


class Paused(Exception):
    """Something everyone needs is away; what came before the record in hand is committed, the record is not."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the stores of one process share. given_up: as in kafka.given_up. monotonic: seconds that pass, from any
    beginning.
    """

    stage: Stage
    core: Core
    codec: Codec
    log: Log
    deaths: Deaths
    settler: Settler
    given_up: Mapping[str, int] = field(default_factory=dict)
    company: Company = field(default_factory=Company)
    monotonic: Callable[[], float] = passed_s


@dataclass(frozen=True, slots=True)
class Turn:
    """A record among those of its key, whose order is kept. ordinal: under which it was held; see dlq/parking.py."""

    key: bytes
    parked: Parked | None
    ordinal: int | None
    way: Way


_PASSED = {Way.FOLLOW: "parked", Way.SKIP: "repeated", Way.DISCARD: "discarded"}


class PartitionStore:
    """See the module. Called from one thread at a time; opened before anything else, closed when revoked."""

    def __init__(self, services: Services, partition: int) -> None:
        self._services = services
        self._stage = services.stage
        self._partition = partition
        self._topic: Topic = _changelog_of(services.stage)
        self._retries, self._dead_letters = services.stage.retries.name, services.stage.dead_letters.name
        self._ordered = frozenset(topic.name for topic in services.stage.reads if topic.ordered)
        self._remembered = Remembered()
        self._ground: Ground | None = None
        self._producer: Transactions | None = None
        self._clock = LogClock(services.monotonic)
        self._suspected: set[str] = set()  # inputs where an earlier process died; asked again until they are clean
        self._awaited: dict[str, int] = {}  # ends of the inputs at _surveyed_ms, by topic
        self._surveyed_ms = 0  # timers due by then may fire, once all that stood there is processed
        self._written_to = 0  # of the changelog, by this owner
        self._working: Working | None = services.core if isinstance(services.core, Working) else None
        self._telling: Telling | None = services.core if isinstance(services.core, Telling) else None
        self._work_at: float | None = None  # monotonic seconds; None: not before another record was processed
        self.restored = 0

    @property
    def position(self) -> Mapping[str, int]:
        """Next offset to process, by topic; all before it is committed."""
        return self._ground.position if self._ground else {}

    def open(self) -> None:
        """Fence the earlier owner, read the state to its end, check the ground, take the broker's time.

        Called again on a closed store it reads only what was written since. Raises Unavailable, StateBroken,
        Fenced.
        """
        services = self._services
        self._producer = services.log.producer(f"{self._stage.group}.{self._partition}")
        self.restored = services.log.remember(self._topic, self._partition, self._remembered)
        inputs, partitions = services.log.inputs(self._partition)
        self._ground = ground.check(
            self._stage,
            self._partition,
            self._remembered,
            inputs,
            partitions=partitions,
            given_up=services.given_up,
        )
        for topic, count in self._ground.missing.items():
            goes_on = self._ground.position[topic]
            Overtaken(self._stage.group, skips=True).deleted(topic, self._partition, goes_on - count, goes_on)
        self._surveyed_ms = 0
        if self._remembered.position is not None:
            self._clock.see(self._remembered.position.written_at)
        self._suspected = set(self._ground.position)
        self._commit(self._draft())
        if self._telling is not None:
            self._telling.kept(self._partition, self._remembered.states.without_end())
        if self._working is not None:
            self._working.opened(self._draft())
            self._work_at = services.monotonic()

    def close(self) -> None:
        """Forget the producer; state and position stay for a reopening."""
        self._producer = None
        self._tell_parked(0)
        if self._telling is not None:
            self._telling.left(self._partition)
        if self._written_to:
            self._remembered.next_offset = max(self._remembered.next_offset, self._written_to)

    def apply(self, batches: Iterable[Batch]) -> None:
        """Commit the effects of everything in these batches, in one or more transactions.

        Raises Paused after committing what came before the record that cannot be processed now; StateBroken,
        Fenced and whatever a transaction raises mean: leave the process.
        """
        draft = self._draft()
        for batch in batches:
            self._check_gapless(batch, draft.position)
            rest = [one for one in batch.records if one.offset >= draft.position[batch.topic]]
            while rest:
                if draft.full:
                    self._commit(draft)
                    draft = self._draft()
                failpoints.hit(f"{self._stage.name}.taken")
                try:
                    rest = rest[self._compute(rest[: RECORDS_MAX - draft.records], draft) :]
                except Paused:
                    self._commit_if_moved(draft)
                    raise
            draft.position[batch.topic] = max(draft.position[batch.topic], batch.end)
        self._commit_if_moved(draft)

    def tick(self) -> int:
        """Fire timers that are due, at most FIRED_MAX; their number. due_in_ms says when to call.

        What stood in the inputs when one came due is processed first: answers that are there come before deadlines.
        Raises Unavailable.
        """
        now_ms = self._clock.now_ms()
        due = self._next_due_ms()
        if due is None or due > now_ms:
            return 0
        if due > self._surveyed_ms and now_ms - self._surveyed_ms >= SURVEY_MS_MIN:
            self._awaited = self._services.log.ends(self._partition)
            self._surveyed_ms = now_ms
        if due > self._surveyed_ms or any(self.position[topic] < end for topic, end in self._awaited.items()):
            return 0
        draft = self._draft()
        for name, due_ms in self._remembered.timers.due(self._surveyed_ms, FIRED_MAX):
            fired = self._services.core.fire(*timer_of(name), due_ms, now_ms)
            draft.outputs.append(replace(fired, partition=self._partition))
            draft.timers[name] = None
        for key, value, due_ms in self._remembered.states.due(self._surveyed_ms, FIRED_MAX - len(draft.outputs)):
            fired = self._services.core.fire(key.decode(), FORGET, due_ms, now_ms)
            draft.outputs.append(replace(fired, partition=self._partition))
            draft.changes[key] = value  # without an end: it came, and is told once
        fired_count = len(draft.outputs)
        if fired_count:
            self._commit(draft)
        return fired_count

    def due_in_ms(self) -> int | None:
        """Until the next timer is due, ≥ 0; None without timers."""
        due = self._next_due_ms()
        return None if due is None else max(0, due - self._clock.now_ms())

    def _next_due_ms(self) -> int | None:
        timer, end = self._remembered.timers.next_due_ms(), self._remembered.states.next_due_ms()
        return end if timer is None else timer if end is None else min(timer, end)

    def work(self) -> None:
        """What the core wants to do by itself, in one transaction. work_in_ms says when to call. Raises as apply."""
        if self._working is None:
            return
        draft = self._draft()
        done = self._working.work(draft, self._clock.now_ms())
        if done.effects is not None:
            draft.add(done.effects, size_of(done.effects))
            self._commit(draft)
        again = done.again_in_ms
        self._work_at = None if again is None else self._services.monotonic() + again / 1000

    def work_in_ms(self) -> int | None:
        """Until the core wants to work, ≥ 0; None while it does not."""
        if self._work_at is None:
            return None
        return max(0, math.ceil((self._work_at - self._services.monotonic()) * 1000))

    def work_later(self, wait_s: float) -> None:
        """It could not work: not before so long, unless another record was processed."""
        self._work_at = self._services.monotonic() + wait_s

    def _draft(self) -> Draft:
        return Draft(self._remembered.states, self._remembered.parked, dict(self.position))

    def _check_gapless(self, batch: Batch, positions: Mapping[str, int]) -> None:
        """Between the consumer and here nothing may be passed over: the position would then step over it."""
        position = positions.get(batch.topic)
        if position is None:
            raise StateBroken(f"{batch.topic} is no input of {self._stage.name}")
        if batch.start > position:
            raise StateBroken(
                f"{batch.topic}/{batch.partition} goes on at {batch.start}, but {position} was not processed yet: "
                "starting again from the position"
            )

    def _compute(self, taken: Sequence[Record], draft: Draft) -> int:
        """How many were put into the draft. Between begin and end nothing but the core and the codec runs."""
        topic, first, last = taken[0].topic, taken[0].offset, taken[-1].offset
        deaths, company, before = self._services.deaths, self._services.company, draft.records
        suspects = self._suspects_of(topic, first)
        with company.beside(self._partition) if suspects is None else company.alone():
            if suspects is None:
                deaths.begin(topic, self._partition, first, last)
            try:
                for record in taken:
                    if suspects is not None:
                        if record.offset > suspects[1]:
                            break
                        deaths.begin(topic, self._partition, record.offset, record.offset)
                    self._step(record, draft, suspects)
                    if draft.full:
                        break
            finally:
                self._tell_done(draft)
                deaths.end(topic, self._partition)
        return draft.records - before

    def _suspects_of(self, topic: str, first: int) -> tuple[int, int, int] | None:
        """What was in hand when an earlier process died, and must be stepped: first, last, deaths of this range."""
        if topic not in self._suspected:
            return None
        found = self._services.deaths.suspects(topic, self._partition, first)
        if found is None:
            self._suspected.discard(topic)
        return found

    def _step(self, record: Record, draft: Draft, suspects: tuple[int, int, int] | None) -> None:
        now_ms = self._now_ms(record)
        turn = self._turn(record, draft)
        if turn is not None and turn.way is not Way.PROCESS:
            self._pass_over(record, turn, draft, now_ms)
            return
        settler = self._services.settler
        if (slowed := settler.gate(record, now_ms)) is not None:
            self._settle(record, slowed, turn, draft, now_ms)
            return
        trace = record.header("traceparent") or ""
        try:
            if suspects is not None and (killer := _killer(record, suspects)) is not None:
                raise killer
            with tracing.span(
                self._stage.name, trace, topic=record.topic, partition=record.partition, offset=record.offset
            ):
                effects = self._services.core.step(record, draft, now_ms)
            size = size_of(effects)
        except Exception as error:  # a core may raise anything; what becomes of it is decided in dlq/
            self._tell_done(draft)
            settlement = settler.settle(record, error, now_ms)
            if settlement.verdict is Verdict.PAUSE:
                raise Paused(str(error)) from error
            if settlement.outgoing is None:
                raise  # the whole deploy has to stop
            self._settle(record, settlement, turn, draft, now_ms)
        else:
            draft.add(effects, size)
            if turn is not None:
                draft.park(turn.key, parking.done(turn.parked, turn.ordinal))
            draft.succeeded.append(record)

    def _now_ms(self, record: Record) -> int:
        """Log time. A topic that others made may hold their producers' times: one far ahead would be everybody's."""
        if record.timestamp_type == CREATED:
            return self._clock.now_ms()
        return self._clock.see(record.timestamp_ms)

    def _tell_done(self, draft: Draft) -> None:
        """What succeeded since the last call: before anything else comes of a record, and at the end.

        Many at once: a lock taken for each record is handed around between the lanes at each.
        """
        if not draft.succeeded:
            return
        self._services.settler.done(draft.succeeded)
        draft.done(draft.succeeded, "done")
        draft.succeeded = []

    def _turn(self, record: Record, draft: Draft) -> Turn | None:
        """How the record stands to others of its key; None where no order is kept."""
        key = record.key
        if key is None:
            return None
        if record.topic in self._ordered:
            parked = draft.parked_of(key)
            return Turn(key, parked, None, parking.way(parked, None))
        if record.topic != self._retries:
            return None
        ordinal = parking.ordinal_of(record)
        if ordinal is None and envelope.origin(record).topic not in self._ordered:
            return None
        parked = draft.parked_of(key)
        way = Way.DISCARD if parking.is_discard(record) else parking.way(parked, ordinal)
        return Turn(key, parked, ordinal, way)

    def _pass_over(self, record: Record, turn: Turn, draft: Draft, now_ms: int) -> None:
        """It must wait behind another of its key, or was settled before, or says that one will not return."""
        self._tell_done(draft)
        parked, settler = turn.parked, self._services.settler
        if turn.way is Way.FOLLOW and parked is not None:
            place = parking.place(parked, turn.ordinal, self._dead_letters)
            self._hold(settler.follow(record, place, now_ms), turn, draft, now_ms)
        elif turn.way is Way.DISCARD and turn.ordinal is not None:
            try:
                draft.park(turn.key, parking.discard(parked, turn.ordinal))
            except RecordError as error:  # its letter stays discarded, and whoever replays this one says it again
                settlement = settler.settle(record, error, now_ms)
                if settlement.outgoing is not None:
                    draft.write(parking.control(settlement.outgoing, turn.ordinal))
                draft.done([record], str(settlement.verdict))
                return
        draft.done([record], _PASSED[turn.way])

    def _settle(self, record: Record, settlement: Settlement, turn: Turn | None, draft: Draft, now_ms: int) -> None:
        """It failed, or was slowed. Raises Paused while its partition takes nothing."""
        self._tell_done(draft)
        out = settlement.outgoing
        if out is None:
            raise Paused(f"nothing of {record.topic} is tried: {settlement.reason}")
        if turn is None:
            draft.write(out)
        elif settlement.reason in parking.FOREIGN:
            draft.write(parking.marked(out, None))
            draft.park(turn.key, parking.done(turn.parked, turn.ordinal))
        else:
            self._hold(out, turn, draft, now_ms)
        draft.done([record], str(settlement.verdict))

    def _hold(self, out: Outgoing, turn: Turn, draft: Draft, now_ms: int) -> None:
        parked, ordinal = parking.hold(
            turn.parked,
            turn.ordinal,
            start=sum(draft.position.values()),  # grows by at least one with each record of the partition
            place=out.topic,
            dead=out.topic == self._dead_letters,
            now_ms=now_ms,
        )
        draft.write(parking.marked(out, ordinal))
        draft.park(turn.key, parked)

    def _commit_if_moved(self, draft: Draft) -> None:
        if draft.position != self.position:
            self._commit(draft)
            if self._working is not None:
                self._work_at = self._services.monotonic()

    def _commit(self, draft: Draft) -> None:
        """One transaction, then the draft is the state. Any error here: leave the process."""
        stage, producer, ground_ = self._stage.name, self._producer, self._ground
        if producer is None or ground_ is None:
            raise StateBroken(f"{stage}/{self._partition} is not open")
        told = bool(draft.records or draft.outputs)  # else nothing of it can be lost or repeated
        if told:
            failpoints.hit(f"{stage}.computed")
        try:
            producer.begin_transaction()
            position = self._produce(producer, draft, ground_)
            if told:
                failpoints.hit(f"{stage}.produced")
                if failpoints.is_armed(f"{stage}.delivered"):  # to commit is to flush, too
                    producer.flush(COMMIT_S_MAX)
                    failpoints.hit(f"{stage}.delivered")
            producer.commit_transaction(COMMIT_S_MAX)
        except KafkaException as error:
            raise _transaction_error(stage, self._partition, error) from error
        if told:
            failpoints.hit(f"{stage}.committed")
        self._keep(draft, ground_, position)
        self._count(draft)

    def _produce(self, producer: Transactions, draft: Draft, ground_: Ground) -> PositionRemembered:
        for out in draft.outputs:
            to = BY_KEY if out.partition is None else out.partition
            producer.produce(out.topic, out.value, out.key, to, headers=list(out.headers) or None)
        name, partition = self._topic.name, self._partition
        for key, value in draft.changes.items():
            producer.produce(name, value, key, partition, headers=end_headers(draft.ends.get(key)))
        for key, due_ms in draft.timers.items():
            producer.produce(name, self._timer_bytes(key, due_ms), key, partition)
        for key, parked in draft.parked.items():
            known = None if parked is None else self._services.codec.encode(self._topic, parked)
            producer.produce(name, known, changelog.PARKED + key, partition)
        position = PositionRemembered(
            inputs=draft.position,
            topic_ids=ground_.topic_ids,
            partitions=ground_.partitions,
            written_at=self._clock.now_ms(),
        )
        value = self._services.codec.encode(self._topic, position)
        producer.produce(name, value, changelog.POSITION, partition, on_delivery=self._position_written)
        return position

    def _timer_bytes(self, name: bytes, due_ms: int | None) -> bytes | None:
        if due_ms is None:
            return None
        key, timer_id = timer_of(name)
        event = TimerRemembered(timer_id=timer_id, key=key, due_at=due_ms)
        return self._services.codec.encode(self._topic, event)

    def _position_written(self, error: object, message: Message) -> None:
        """The broker's answer to the last record of a transaction: where the changelog ends, and what time it is."""
        if error is None:
            self._written_to = message.offset() + 1
            kind, stamp = message.timestamp()
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                self._clock.see(stamp)

    def _keep(self, draft: Draft, ground_: Ground, position: PositionRemembered) -> None:
        states = self._remembered.states
        for key, value in draft.changes.items():
            states.set(key, value, draft.ends.get(key))
        if self._telling is not None:
            self._telling.kept(self._partition, draft.changes)
        for name, due_ms in draft.timers.items():
            self._remembered.timers.set(name, due_ms)
        held = self._remembered.parked
        for key, parked in draft.parked.items():
            if parked is None:
                held.pop(key, None)
            else:
                held[key] = parked
        self._tell_parked(len(held))
        self._remembered.position = position
        self._ground = replace(ground_, position=draft.position)

    def _tell_parked(self, count: int) -> None:
        metrics.PARKED.labels(self._stage.name, str(self._partition)).set(count)

    def _count(self, draft: Draft) -> None:
        stage = self._stage.name
        for (topic, verdict), count in draft.verdicts.items():
            metrics.SETTLED.labels(stage, topic, verdict).inc(count)
        now = time.time()
        metrics.TOOK.labels(stage).observe_all(max(0.0, now - stamp / 1000) for stamp in draft.stamps)


def _changelog_of(stage: Stage) -> Topic:
    topic = stage.changelog
    if topic is None:
        raise StateBroken(f"{stage.name} is declared without state")
    return topic


def _transaction_error(stage: str, partition: int, error: KafkaException) -> Exception:
    text = f"{stage}/{partition}: transaction failed: {error.args[0]}"
    return Fenced(text) if error.args[0].fatal() else StateBroken(f"{text}; starting again from the position")


def _killer(record: Record, suspects: tuple[int, int, int]) -> RecordError | None:
    """What to settle a record with that ended too many processes with nothing else in hand."""
    first, last, deaths = suspects
    return given_up(deaths) if first == last == record.offset else None
