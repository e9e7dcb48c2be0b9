"""What must hold in a simulated world, judged from its logs alone; no stage is asked.

Enters: every record as it is written, every commit of a group, and at the end the whole history. Leaves: nothing, or
Violated. The names are those of the verifier:

    committed      a group's offset never passes a record whose effects are not out
    one decision   a case is decided at most once, and at the end exactly once unless a dead letter of it is open
    lost           every accepted record is a case, a refusal or an open dead letter; no input is left unread
    repeated       whatever a transaction wrote is there once: transitions, commands, tasks, timers, dead letters
    order          what moves a case moves it in the order of its topic
    audit          transitions are numbered without a gap
    judged         another body under a key is refused, the same body never is
    timer          no timer before its time, no deadline before an answer that stood there
    replay         a generation of a dead letter returns once, and every job comes to its end
    retry          nothing returns before its delay is over
    given up       only who ended processes alone is given up
    places         no more commands of the tenant are out than it has places, in each partition of plan; who waits is
                   called in the order of coming; at the end no place is taken
    money          no more is reserved and spent than a limit has, at each change of it; at the end nothing is reserved,
                   each answer is in the ledger and each line of it in the books, and nothing is charged twice
    effects        counted at the outside system: never two of what is reconciled or asked for at most once, and one or
                   more of what was answered `ok`
    fold           what a stage remembers is what its changelog says
    liveness       every stage starts, and comes to the end of its inputs
    errors         whoever leaves does so by an error of ours, which says what is wrong
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from aios.dlq import envelope
from aios.dlq.jobs import JobState, job_key
from aios.dlq.letter_states import LetterState
from aios.infra.prove.simulation.log import Entry
from aios.infra.prove.simulation.people import Published
from aios.infra.prove.simulation.stages import StoreProcess
from aios.infra.prove.simulation.systems import CONNECTING
from aios.infra.prove.simulation.world import Group, Slot, Violated, World
from aios.processors.accounts import WASTED
from aios.processors.cases.turnstile import POOL, TURN
from aios.processors.stateful import changelog
from aios.processors.stateful.changelog import Remembered
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import (
    AuditRecorded,
    BudgetChanged,
    BudgetDeclared,
    CaseAdmitted,
    CaseDecided,
    ConnectorCompleted,
    ConnectorRequested,
    Event,
    EventRefused,
    InferenceCompleted,
    InferenceRequested,
    LetterChanged,
    PositionRemembered,
    ReplayRemembered,
    ReviewRequested,
    TimerFired,
    UsageSettled,
)
from aios.streams import topics
from aios.streams.limits import names_of
from aios.streams.system_files import Effect
from aios.streams.topics import Topic
from aios.streams.topology import ADMIT, BUDGET, PLAN, POOLS, REPLAY, RETRY, Stage

E = TypeVar("E", bound=Event)
Where = tuple[str, int, int]  # topic, partition, offset
ATTEMPTS, COUNT = f"{envelope.PREFIX}attempts", f"{envelope.PREFIX}replay.count"
DEFERRALS = f"{envelope.PREFIX}deferrals"
STAGES = (ADMIT, PLAN, BUDGET, *POOLS, CONNECTING, RETRY, REPLAY)
WAITING = frozenset(topic.name for topic in RETRY.reads)
NOTHING = BudgetChanged(
    budget="",
    tenant="",
    workflow="",
    window_from=0,
    window_to=0,
    reserved_micro=0,
    spent_micro=0,
    wasted_micro=0,
    denied=0,
    soft_reached=False,
    changed_at=0,
)
"""Where a budget stands of which nothing was told."""
COMMANDS = frozenset(pool.reads[0].name for pool in POOLS)


def _count(entry: Entry, header: str) -> int:
    return int(entry.header(header) or 0)


def _tries(entry: Entry) -> int:
    """How often it failed or was slowed: once more each time it is settled."""
    return _count(entry, ATTEMPTS) + _count(entry, DEFERRALS)


class Judge:
    """Looks on while the world runs. places: of the tenant at a pool, in a partition. done: effects by key.

    limits: that are declared, by name.
    """

    def __init__(
        self, world: World, codec: Codec, places: int, done: Mapping[str, int], *, limits: Mapping[str, BudgetDeclared]
    ) -> None:
        self._world = world
        self._limits = limits
        self._places = places
        self._done = done
        self._codec = codec
        self._answered: set[str] = set()  # ids of answers
        self._settled: Counter[tuple[str, Where]] = Counter()  # tries, by group and origin; to retry or dead letters
        self._returned: set[tuple[str, Where, int]] = set()  # (retry topic, origin, attempts)
        self._positions: dict[tuple[str, int], list[Entry]] = defaultdict(list)
        self._stages = {stage.group: stage for stage in STAGES}
        self._dead_letters = {stage.dead_letters.name: stage.group for stage in self._stages.values()}
        self._retries = {stage.retries.name: stage.group for stage in self._stages.values()}
        world.watchers.append(self._written)

    def _written(self, entry: Entry) -> None:
        if entry.marker:
            return
        if entry.key == changelog.POSITION:
            self._positions[entry.topic, entry.partition].append(entry)
        elif entry.topic in (topics.INFERENCE_COMPLETED.name, topics.CONNECTOR_COMPLETED.name):
            self._answered.add(entry.header("ce_id"))
        elif entry.topic in WAITING:
            group = entry.header(envelope.RETRY_TARGET).removesuffix(".retry")
            self._settle(group, entry)
        elif entry.topic in self._dead_letters:
            self._settle(self._dead_letters[entry.topic], entry)
        elif entry.topic in self._retries:
            self._returned.add((entry.topic, entry.origin, _count(entry, ATTEMPTS)))

    def _settle(self, group: str, entry: Entry) -> None:
        place = group, entry.origin
        self._settled[place] = max(self._settled[place], _tries(entry))

    def may_commit(self, group: Group, topic: str, partition: int, offset: int) -> None:
        """Raises Violated when something below is not finished."""
        stage = self._stages[group.name]
        before = group.committed.get((topic, partition), 0)
        if stage.changelog is not None:
            if offset > self._position(stage, topic, partition):
                raise Violated("committed", f"{group.name} {topic}/{partition} at {offset}, its position is below")
            return
        for entry in self._world.cluster.partitions[topic][partition].history[before:offset]:
            if entry.committed and not self._is_finished(stage, entry):
                where = f"{topic}/{partition}/{entry.offset}"
                raise Violated("committed", f"{group.name} committed {offset}, and {where} is not finished")

    def _position(self, stage: Stage, topic: str, partition: int) -> int:
        """What the changelog says, of what is committed there."""
        assert stage.changelog is not None
        found = self._positions[stage.changelog.name, partition]
        entry = next((one for one in reversed(found) if one.committed), None)
        if entry is None:
            return 0
        return self._codec.decode(entry.value, PositionRemembered).inputs.get(topic, 0)

    def _is_finished(self, stage: Stage, entry: Entry) -> bool:
        origin = entry.origin
        if self._settled[stage.group, origin] > _tries(entry):
            return True
        if stage is RETRY:
            return (entry.header(envelope.RETRY_TARGET), origin, _count(entry, ATTEMPTS)) in self._returned
        kind: type[ConnectorRequested | InferenceRequested]
        kind = ConnectorRequested if stage is CONNECTING else InferenceRequested
        try:
            request = self._codec.decode(entry.value, kind)
        except SchemaMismatch:
            return False
        return ids.derive("completed", request.request_id) in self._answered

    # The end

    def final(self, slots: Sequence[Slot], published: Published, jobs: Sequence[str]) -> None:
        """Raises Violated with the first thing that does not hold."""
        self._check_jobs(jobs)
        history = History(self._world, self._codec, self._places)
        history.check(published, self._done)
        history.check_money(self._limits)
        for slot in slots:
            self._check_alive(slot)
            self._check_read(slot)

    def _check_jobs(self, jobs: Sequence[str]) -> None:
        assert REPLAY.changelog is not None
        folded = Remembered()
        for entry in self._world.cluster.partitions[REPLAY.changelog.name][0].committed():
            changelog.take(self._codec, REPLAY.changelog, entry.key, entry.value, folded, headers=entry.headers)
        for job_id in jobs:
            value = folded.states.get(job_key(job_id))
            state = "unknown" if value is None else self._codec.decode(value, ReplayRemembered).state
            if state != JobState.DONE:
                raise Violated("liveness", f"job {job_id} is {state} and not done")

    def _check_alive(self, slot: Slot) -> None:
        process = slot.process
        if slot.wanted and process is None:
            raise Violated("liveness", f"{slot.name} does not run: {slot.why}")
        if isinstance(process, StoreProcess):
            for partition, lane in process.lanes.items():
                if not lane.is_open:
                    raise Violated("liveness", f"{slot.name} does not open partition {partition}: {slot.why}")
                self._check_fold(process, partition)

    def _check_fold(self, process: StoreProcess, partition: int) -> None:
        stage = self._stages[process.slot.group.name]
        assert stage.changelog is not None
        folded = Remembered()
        for entry in self._world.cluster.partitions[stage.changelog.name][partition].committed():
            changelog.take(self._codec, stage.changelog, entry.key, entry.value, folded, headers=entry.headers)
        if stage is PLAN and (stale := [key for key, _ in folded.states.items() if key.startswith((POOL, TURN))]):
            raise Violated("places", f"partition {partition}: nobody asks or waits, and {stale[0]!r} is remembered")
        held = process.lanes[partition].store._remembered
        for what, left, right in (
            ("states", dict(held.states.items()), dict(folded.states.items())),
            ("ends", held.states.ends(), folded.states.ends()),
            ("timers", dict(held.timers.items()), dict(folded.timers.items())),
            ("held keys", held.parked, folded.parked),
            ("position", held.position, folded.position),
        ):
            if left != right:
                raise Violated("fold", f"{process.name} partition {partition}: its {what} are not the changelog's")
        waits = dict(folded.timers.items())
        if waits:
            raise Violated("liveness", f"{process.name} partition {partition} still waits for {len(waits)} timers")

    def _check_read(self, slot: Slot) -> None:
        group = slot.group
        for topic in group.topics:
            for partition, log in enumerate(self._world.cluster.partitions[topic]):
                if log.open:
                    raise Violated("liveness", f"a transaction hangs on {topic}/{partition}")
                last = next((entry.offset for entry in reversed(log.history) if entry.committed), -1)
                if group.committed.get((topic, partition), 0) <= last:
                    raise Violated("lost", f"{group.name} left {topic}/{partition} unread from below {last}")


class History:
    """Everything that became visible, read once more at the end."""

    def __init__(self, world: World, codec: Codec, places: int) -> None:
        self._world = world
        self._codec = codec
        self._places = places
        self._settlements: dict[tuple[str, Where], list[Entry]] = defaultdict(list)
        self._returns: dict[tuple[str, Where], list[Entry]] = defaultdict(list)
        self._letters: dict[tuple[str, Where], list[Entry]] = defaultdict(list)
        self.stages = STAGES
        for stage in self.stages:
            for entry in self._all(stage.dead_letters):
                self._settlements[stage.group, entry.origin].append(entry)
                self._letters[stage.group, entry.origin].append(entry)
            for entry in self._all(stage.retries):
                self._returns[stage.group, entry.origin].append(entry)
        for topic in RETRY.reads:
            for entry in self._all(topic):
                group = entry.header(envelope.RETRY_TARGET).removesuffix(".retry")
                self._settlements[group, entry.origin].append(entry)
        self._open = {
            place: letters[-1]
            for place, letters in self._letters.items()
            if max(_count(one, COUNT) for one in letters)
            >= max((_count(one, COUNT) for one in self._returns[place]), default=0)
        }

    def check(self, published: Published, done: Mapping[str, int]) -> None:
        """Raises Violated."""
        admitted = self._events(topics.CASE_ADMITTED, CaseAdmitted)
        refused = self._events(topics.EVENT_REFUSED, EventRefused)
        audits = self._events(topics.AUDIT_RECORDED, AuditRecorded)
        self._check_accepted(published)
        self._check_sources(admitted, refused)
        self._check_settled()
        self._check_repeats(audits)
        self._check_audit(audits)
        self._check_order(audits)
        self._check_places(audits)
        self._check_cases(admitted, refused, audits)
        self._check_timers()
        self._check_retries()
        self._check_replays()
        self._check_given_up()
        self._check_effects(done)

    def _all(self, topic: Topic) -> Iterator[Entry]:
        """In the order of each partition."""
        for log in self._world.cluster.partitions[topic.name]:
            yield from log.committed()

    def _events(self, topic: Topic, kind: type[E]) -> list[tuple[Entry, E]]:
        found = []
        for entry in self._all(topic):
            try:
                found.append((entry, self._codec.decode(entry.value, kind)))
            except SchemaMismatch:
                continue
        return found

    def _check_accepted(self, published: Published) -> None:
        for topic, partition, offset in published.acknowledged:
            if not self._world.cluster.partitions[topic][partition].history[offset].committed:
                raise Violated("lost", f"{topic}/{partition}/{offset} was acknowledged and is not there")

    def _check_sources(
        self, admitted: Sequence[tuple[Entry, CaseAdmitted]], refused: Sequence[tuple[Entry, EventRefused]]
    ) -> None:
        """Every copy of a source record comes to exactly one end in admit."""
        ends = Counter((one.source_topic, one.source_partition, one.source_offset) for _, one in admitted)
        ends.update(
            (one.source_topic, one.source_partition, one.source_offset)
            for _, one in refused
            if one.refused_by == ADMIT.name
        )
        for entry in (*self._all(topics.DOCUMENT_RECEIVED), *self._all(topics.MEETING_REQUESTED)):
            place = (entry.topic, entry.partition, entry.offset)
            copies = 1 + len(self._returns[ADMIT.group, place])
            came = ends[place] + len(self._settlements[ADMIT.group, place])
            if came != copies:
                name = "lost" if came < copies else "repeated"
                raise Violated(name, f"{'/'.join(map(str, place))}: {copies} copies, {came} ends")

    def _check_settled(self) -> None:
        """In a stateful stage a record is settled once for each time it came."""
        for (group, place), entries in self._settlements.items():
            copies = 1 + len(self._returns[group, place])
            if group in (ADMIT.group, PLAN.group, BUDGET.group) and len(entries) > copies:
                where = "/".join(map(str, place))
                raise Violated("repeated", f"{where} came {copies} times to {group} and was settled {len(entries)}")

    def _check_repeats(self, audits: Sequence[tuple[Entry, AuditRecorded]]) -> None:
        named: list[tuple[str, str]] = [("audit", one.audit_id) for _, one in audits if one.case_seq]
        for pool in POOLS:
            requests = self._events(pool.reads[0], InferenceRequested)
            named += [("request", one.request_id) for _, one in requests]
        named += [("call", one.request_id) for _, one in self._events(CONNECTING.reads[0], ConnectorRequested)]
        ledger = self._events(topics.USAGE_SETTLED, UsageSettled)
        named += [("settlement", one.settlement_id) for _, one in ledger if one.cost_micro]  # what ends may end twice
        named += [("task", one.task_id) for _, one in self._events(topics.REVIEW_REQUESTED, ReviewRequested)]
        named += [
            ("timer", f"{one.case_id} {one.timer_id} {one.due_at}")
            for _, one in self._events(topics.TIMER_FIRED, TimerFired)
        ]
        for (what, name), count in Counter(named).items():
            if count > 1:
                raise Violated("repeated", f"{what} {name} was written {count} times")

    def _check_audit(self, audits: Sequence[tuple[Entry, AuditRecorded]]) -> None:
        seen: Counter[str] = Counter()
        for _, one in audits:
            if one.case_seq:
                seen[one.case_id] += 1
                if one.case_seq != seen[one.case_id]:
                    raise Violated("audit", f"case {one.case_id}: {one.case_seq} where {seen[one.case_id]} is next")

    def _check_order(self, audits: Sequence[tuple[Entry, AuditRecorded]]) -> None:
        """Of each case: what moved it came in the order of its topic, also what failed before and returned."""
        last: dict[tuple[str, str], int] = {}
        ordered, inputs = {topic.name for topic in PLAN.reads if topic.ordered}, {topic.name for topic in PLAN.inputs}
        for _, one in audits:
            if one.input_topic not in inputs:
                continue
            log = self._world.cluster.partitions[one.input_topic][one.input_partition]
            topic, _, offset = log.history[one.input_offset].origin
            if topic not in ordered:
                continue
            if offset < last.get((one.case_id, topic), -1):
                raise Violated("order", f"case {one.case_id}: {topic} at {offset} after {last[one.case_id, topic]}")
            last[one.case_id, topic] = offset

    def _check_places(self, audits: Sequence[tuple[Entry, AuditRecorded]]) -> None:
        """By the transitions and turns alone, which stand in the order in which plan made them."""
        holds: dict[tuple[int, str], set[str]] = defaultdict(set)
        at: dict[str, tuple[int, str]] = {}
        queued: dict[
            tuple[str, str], tuple[tuple[int, str], int]
        ] = {}  # case and turn → where it waits, and since when
        for number, (entry, one) in enumerate(audits):
            if not one.case_seq or one.transition in ("ignored", "body_replaced"):
                continue
            said = json.loads(one.detail)
            place = (entry.partition, said["pool"]) if one.transition in ("requested", "queued") else None
            if one.case_id in at and at[one.case_id] != place:
                holds[at.pop(one.case_id)].discard(one.case_id)
            if one.transition in ("queued", "call_queued"):
                where = entry.partition, said.get("pool") or said["system"]
                queued[one.case_id, f"turn/{one.step}/{said['attempt']}"] = where, number
            elif place is not None:
                at[one.case_id] = place
                holds[place].add(one.case_id)
                if len(holds[place]) > self._places:
                    raise Violated(
                        "places", f"{len(holds[place])} commands are out in partition {place[0]}, {place[1]}"
                    )
        self._check_turns(queued)

    def _check_turns(self, queued: Mapping[tuple[str, str], tuple[tuple[int, str], int]]) -> None:
        called: dict[tuple[int, str], int] = {}
        for _, fired in self._events(topics.TIMER_FIRED, TimerFired):
            if not fired.timer_id.startswith("turn/"):
                continue
            place, since = queued.get((fired.case_id, fired.timer_id), ((-1, ""), -1))
            if since < called.get(place, 0):
                raise Violated("places", f"case {fired.case_id}: {fired.timer_id} was called out of its order")
            called[place] = since

    def _check_cases(
        self,
        admitted: Sequence[tuple[Entry, CaseAdmitted]],
        refused: Sequence[tuple[Entry, EventRefused]],
        audits: Sequence[tuple[Entry, AuditRecorded]],
    ) -> None:
        decisions = Counter(one.case_id for _, one in self._events(topics.CASE_DECIDED, CaseDecided))
        winners = {one.case_id: _event_of(one) for _, one in audits if one.transition == "admitted"}
        conflicts = {
            (one.source_topic, one.source_partition, one.source_offset)
            for _, one in refused
            if one.refused_by == PLAN.name
        }
        opened = {_case_of(letter) for letter in self._open.values()}
        bodies = {(one.case_id, one.event_id): one.body_hash for _, one in admitted}
        for entry, one in admitted:
            case, place = one.case_id, (one.source_topic, one.source_partition, one.source_offset)
            if decisions[case] > 1:
                raise Violated("one decision", f"case {case} was decided {decisions[case]} times")
            if decisions[case] < 1 and case not in opened:
                raise Violated("lost", f"case {case} is neither decided nor has it an open dead letter")
            if (PLAN.group, (entry.topic, entry.partition, entry.offset)) in self._open or case not in winners:
                continue
            same = one.body_hash == bodies.get((case, winners[case]))
            if same == (place in conflicts):
                raise Violated("judged", f"case {case}: event {one.event_id} {'was' if same else 'was not'} refused")

    def _check_timers(self) -> None:
        answers = {(one.case_id, f"{one.step}/{one.attempt}"): entry for entry, one in reversed(self._answers())}
        for entry, fired in self._events(topics.TIMER_FIRED, TimerFired):
            if entry.timestamp < fired.due_at:
                early = fired.due_at - entry.timestamp
                raise Violated("timer", f"case {fired.case_id}: {fired.timer_id} fired {early} ms early")
            answer = answers.get((fired.case_id, fired.timer_id))
            if answer is None or (PLAN.group, answer.origin) in self._settlements:
                continue
            if answer.timestamp <= fired.due_at:
                raise Violated("timer", f"case {fired.case_id}: {fired.timer_id} fired, and its answer stood there")

    def _answers(self) -> list[tuple[Entry, InferenceCompleted | ConnectorCompleted]]:
        return [
            *self._events(topics.INFERENCE_COMPLETED, InferenceCompleted),
            *self._events(topics.CONNECTOR_COMPLETED, ConnectorCompleted),
        ]

    def _check_retries(self) -> None:
        """What returns returns from a wait that is over; what a replay returned waited for no tier."""
        for (group, place), backs in self._returns.items():
            waits = [one for one in self._settlements[group, place] if one.topic in WAITING]
            for back in backs:
                if back.transaction is not None:
                    continue
                dues = [_due_ms(one) for one in waits if _same_try(one, back)]
                if dues and back.timestamp < min(dues):
                    where = "/".join(map(str, place))
                    raise Violated("retry", f"{where} returned to {group} {min(dues) - back.timestamp} ms early")

    def _check_replays(self) -> None:
        """A generation of a letter returns once, whatever job asks and whoever dies."""
        seen: Counter[tuple[str, str]] = Counter()
        for stage in self.stages:
            for entry in self._all(stage.retries):
                if entry.transaction is not None:  # replay's own; what a tier returns is written without one
                    seen[entry.header(f"{envelope.PREFIX}id"), entry.header(COUNT)] += 1
        changes = self._events(topics.LETTER_CHANGED, LetterChanged)
        seen.update((one.change_id, "change") for _, one in changes if one.state == LetterState.REPLAYED)
        for (letter, count), times in seen.items():
            if times > 1:
                raise Violated("replay", f"letter {letter}, replay {count}: returned {times} times")

    def _check_given_up(self) -> None:
        for (group, place), letters in self._letters.items():
            if letters[-1].header(f"{envelope.PREFIX}reason") != "kills_its_process":
                continue
            if self._world.deaths[group, place] < 2:
                raise Violated("given up", f"{'/'.join(map(str, place))} was given up, and had not ended two processes")

    def _check_effects(self, done: Mapping[str, int]) -> None:
        """A step is asked under one key; what it became there, beside what was answered."""
        said: dict[str, set[str]] = {}
        for _, one in self._events(topics.CONNECTOR_COMPLETED, ConnectorCompleted):
            said.setdefault(one.request_id, set()).add(one.status)
        requests = [asked for _, asked in self._events(CONNECTING.reads[0], ConnectorRequested)]
        under_key: dict[str, set[str]] = {}
        for asked in requests:
            under_key.setdefault(asked.idempotency_key, set()).update(said.get(asked.request_id, {"nothing"}))
        ok = {request_id for request_id, statuses in said.items() if "ok" in statuses}
        for asked in requests:
            count = done.get(asked.idempotency_key, 0)
            if count > 1 and asked.effect in (Effect.RECONCILED, Effect.AT_MOST_ONCE):
                raise Violated("effects", f"{asked.request_id} ({asked.effect}) was done {count} times")
            if not count and asked.effect != Effect.NONE and asked.request_id in ok:
                raise Violated("effects", f"{asked.request_id} ({asked.effect}) was answered ok, and never done")
            if count and asked.effect != Effect.NONE and under_key[asked.idempotency_key] <= {"failed", "expired"}:
                raise Violated("effects", f"{asked.request_id} ({asked.effect}) was answered as not done, and was done")

    def check_money(self, limits: Mapping[str, BudgetDeclared]) -> None:
        """Raises Violated."""
        stands = dict.fromkeys(limits, NOTHING)
        for _, one in self._events(topics.BUDGET_CHANGED, BudgetChanged):
            hard = limits[one.budget].hard_micro
            if one.reserved_micro < 0 or one.reserved_micro + one.spent_micro > hard:
                said = f"{one.reserved_micro} are reserved and {one.spent_micro} spent, of {hard}"
                raise Violated("money", f"{one.budget}: {said}")
            stands[one.budget] = one
        answers = self._events(topics.INFERENCE_COMPLETED, InferenceCompleted)
        ledger = self._events(topics.USAGE_SETTLED, UsageSettled)
        told = sum(line.cost_micro for _, line in ledger if line.kind in ("inference", WASTED))
        least, most = self._cost(PLAN, [(entry, one.cost_micro) for entry, one in answers])
        if not least <= told <= most:
            raise Violated("money", f"the answers cost {least} to {most}, {told} stand in the ledger")
        for name in limits:
            stand = stands[name]
            lines = [(entry, one.cost_micro) for entry, one in ledger if name in names_of(one.tenant, one.workflow)]
            least, most = self._cost(BUDGET, lines)
            booked = stand.spent_micro + stand.over_micro + stand.wasted_micro
            if not least <= booked <= most or stand.spent_micro > sum(cost for _, cost in lines):
                said = f"{stand.spent_micro} spent, {booked} in all, of {least} to {most} in the ledger"
                raise Violated("money", f"{name}: {said}")
            if stand.reserved_micro:
                raise Violated("money", f"{name}: {stand.reserved_micro} are reserved, and no case is open")

    def _cost(self, stage: Stage, lines: Sequence[tuple[Entry, int]]) -> tuple[int, int]:
        """Of what a stage has read: each once, and each as often as it came (a tier may return a record twice)."""
        least = most = 0
        for entry, cost in lines:
            place = (stage.group, entry.origin)
            times = 1 + len(self._returns[place]) - len(self._settlements[place])
            least, most = least + min(times, 1) * cost, most + times * cost
        return least, most


def _case_of(letter: Entry) -> str:
    """Of a command its header says it: its key is a slot of the tenant."""
    if letter.origin[0] in COMMANDS:
        return letter.header("ce_subject")
    return (letter.key or b"").decode("utf-8", "replace")


def _due_ms(waiting: Entry) -> int:
    return waiting.timestamp + int(waiting.header(envelope.RETRY_AFTER))


def _same_try(waiting: Entry, back: Entry) -> bool:
    return _count(waiting, ATTEMPTS) == _count(back, ATTEMPTS) and _count(waiting, COUNT) == _count(back, COUNT)


def _event_of(one: AuditRecorded) -> str:
    """The event that a transition names."""
    return str(json.loads(one.detail).get("event_id", ""))
