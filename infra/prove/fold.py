"""The cases of one partition, folded anew from what every stage told; then compared with itself. Pure.

Enters: the committed records of one partition of each topic of the case family, decoded, in the order of ORDER, with
those of pools' topics that belong to its cases (they are keyed by tenant, and lie in any partition: home_of); and where
groups had committed before the first of them was read. Leaves: a Part. Guaranteed: of a system that runs it
claims only what must hold at that moment, because causes are read after their effects, and positions before both: a
position, a remembered case or a decision that is there has everything it stands on read after it. Memory: about
2.2 KiB a case of the partition (measured; a million cases in six partitions, two at a time: 0.8 GiB).
Rejected: asking a stage, or using its code (the fold below knows nine transitions, and nothing of workflows).

    ORDER   changelog (positions, remembered cases) → decisions, refusals, questions → the ledger → answers → letters,
            returns, changes of letters → commands → audit → admitted cases
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from aios.infra.prove.findings import Law, Part
from aios.streams import topics, topology
from aios.streams.partitioner import partition_of
from aios.streams.topics import (
    AUDIT_RECORDED,
    CASE_ADMITTED,
    CASE_DECIDED,
    EVENT_REFUSED,
    INFERENCE_COMPLETED,
    LETTER_CHANGED,
    REVIEW_REQUESTED,
    USAGE_SETTLED,
)
from aios.streams.topology import PLAN, POOLS

ADMITTED, REFUSED = 1, 2  # outcomes of a source record, as bits
STATE = f"{PLAN.group}.state"
COMMANDS: Mapping[str, str] = {pool.reads[0].name: pool.name for pool in POOLS}
LETTERS = frozenset(stage.dead_letters.name for stage in (PLAN, *POOLS))  # they hold up a case; a sink's hold up none
RETURNS = frozenset(
    {stage.retries.name for stage in (PLAN, *POOLS)}
    | {name for name in topology.all_topics() if name.startswith("aios.retry.")}
)
SPREAD = frozenset(
    {USAGE_SETTLED.name, *COMMANDS, *(stage.dead_letters.name for stage in POOLS)} | RETURNS - {PLAN.retries.name}
)  # whose records of one case partition lie in any
ORDER = (
    STATE,
    CASE_DECIDED.name,
    EVENT_REFUSED.name,
    REVIEW_REQUESTED.name,
    USAGE_SETTLED.name,
    INFERENCE_COMPLETED.name,
    *sorted(LETTERS),
    *sorted(RETURNS),
    LETTER_CHANGED.name,
    *COMMANDS,
    AUDIT_RECORDED.name,
    CASE_ADMITTED.name,
)
"""In which the topics of a partition are read; see the module."""
SETTLING = ("replayed", "discarded", "expired")  # states of a letter that is open no longer
RESERVED = b"\0"
TURNSTILE = (b"pool:", b"turn:")  # plan's keys that are no cases: who stands with a pool, and who waits for it
POSITION = RESERVED + b"position"
MS_UNKNOWN = -1

Origin = tuple[str, int, int]  # topic, partition, offset where a record first stood
Asks = tuple[str, int, str]  # pool or system, ordinal of who waits for a turn there, tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is judged. whole: no case is from before, so every cause must be there.

    since: offset of plan's changelog; what is remembered below it is from before, and counts for places alone.
    committed: of the groups of plan and the pools, by topic and partition, as they were before anything was read.
    sources: offsets of document.received to judge, by partition: (from, to). drained: nothing is on its way any more.
    """

    partition: int
    whole: bool = True
    since: int = 0
    committed: Mapping[tuple[str, int], int] = field(default_factory=dict)
    sources: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    drained: bool = True


@dataclass(slots=True)
class Case:
    """One case, as its records tell it. seq, status, step, attempt, waiting: of the fold so far."""

    seq: int = 0
    status: str = ""
    step: str = ""
    attempt: int = 0
    waiting: str = ""
    founder: str = ""  # event id, of the audit's first transition
    decided_seq: int = 0  # by the audit
    decision: tuple[Any, ...] = ()
    remembered: tuple[Any, ...] | None = None
    admitted: list[tuple[str, str, int, int]] = field(default_factory=list)  # event id, hash, source place
    refused: dict[str, int] = field(default_factory=dict)  # event id → refusals less their audit
    refused_ids: set[str] = field(default_factory=set)
    letters: int = 0  # open ones under this key
    unbooked: int = 0  # answers and people's decisions that it took, less their lines in the ledger


@dataclass(slots=True)
class Command:
    """One request to a model."""

    case_id: str
    told: int = 0  # as a command
    answered: int = 0  # by pools
    accepted: int = 0  # by plan
    audited: bool = False
    finished: bool = False  # the pool's group committed past it
    answered_at: int = MS_UNKNOWN


def home_of(seen: Any, partitions: int) -> int:
    """The case partition in which a record of SPREAD is judged; of what names no case, always the same one."""
    subject = next((value for name, value in seen.headers if name == "ce_subject" and value), b"")
    return partition_of(subject, partitions) if subject else int(seen.partition % partitions)


class Fold:
    """See the module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.part = Part()
        self.cases: dict[str, Case] = {}
        self._commands: dict[str, Command] = {}
        self._answers: dict[int, tuple[str, int]] = {}  # offset of an answer → its command, its time
        self._audit_at: dict[str, dict[int, int]] = {CASE_ADMITTED.name: {}, INFERENCE_COMPLETED.name: {}}
        self._settled: set[int] = set()  # hashes of the ids of the ledger's lines
        self._ends: dict[str, int] = {}  # offset after the last one read, by topic
        self._turnstile: dict[str, int] = {}  # plan's keys of who stands with a pool and who waits → how many; 0: gone
        self._asking: dict[str, list[Asks]] = {}  # of each case, its branches among them
        self._aside: set[Origin] = set()  # first places of what lies in dead letters or waits to return
        self._letters: dict[str, tuple[int, str, Origin]] = {}  # id → generation, key, origin
        self._closed: dict[str, int] = {}  # letter → generation up to which it is closed
        self.position: Mapping[str, int] = {}
        self.marks: dict[int, bytearray] = {
            partition: bytearray(end - start) for partition, (start, end) in scope.sources.items()
        }
        self.admitted_at: dict[int, array[int]] = {
            partition: array("q", bytes(8 * (end - start))) for partition, (start, end) in scope.sources.items()
        }
        self._takes: dict[str, Callable[[Any, Any], None]] = {
            STATE: self._state,
            CASE_DECIDED.name: self._decided,
            EVENT_REFUSED.name: self._refused,
            REVIEW_REQUESTED.name: self._asked,
            USAGE_SETTLED.name: self._booked,
            INFERENCE_COMPLETED.name: self._answered,
            AUDIT_RECORDED.name: self._audited,
            CASE_ADMITTED.name: self._admitted,
            LETTER_CHANGED.name: self._changed,
            **dict.fromkeys(COMMANDS, self._commanded),
        }

    def take(self, seen: Any, event: Mapping[str, Any] | None) -> None:
        """One record. event: its fields; None for a tombstone, and for dead letters and returns, read by headers."""
        self.part.records += 1
        self._ends[seen.topic] = seen.offset + 1
        if seen.topic in LETTERS or seen.topic in RETURNS:
            self._set_aside(seen)
        else:
            self._takes[seen.topic](seen, event)

    # ── records ──────────────────────────────────────────────────────────────────────────────────────

    def _state(self, seen: Any, event: Mapping[str, Any] | None) -> None:
        if seen.key == POSITION and event is not None:
            self.position = event["inputs"]
        if seen.key.startswith(RESERVED):
            return
        if seen.key.startswith(TURNSTILE):
            self._turnstile[seen.key.decode()] = 0 if event is None else event.get("outstanding", 1)
            return
        self._asking.pop(seen.key.decode(), None)
        if event is not None and (asks := _asks_of(event)):
            self._asking[seen.key.decode()] = asks
        if seen.offset < self._scope.since:
            return
        case = self._case(seen.key.decode())
        case.remembered = None
        if event is not None and "case_seq" in event:
            case.remembered = (
                event["case_seq"],
                event["status"],
                event["step"],
                event["attempt"],
                event["waiting_for"],
                event["event_id"],
                event["decided_at"] != 0,
            )

    def _decided(self, seen: Any, event: Mapping[str, Any]) -> None:
        case = self._case(event["case_id"])
        said = (event["decision_id"], event["outcome"], event["label"], event["decided_by"], event["case_seq"])
        self.part.pace("plan").tell(seen.at)
        if not case.decision:
            case.decision = said
            self.part.decided += 1
            return
        self.part.repeated[seen.topic] += 1
        if case.decision != said:
            self.part.second_decisions += 1
        kind = "again" if case.decision == said else "differently"
        self._wrong(Law.ONE_DECISION, f"case {event['case_id']} is decided {kind} at {_place(seen)}")

    def _refused(self, seen: Any, event: Mapping[str, Any]) -> None:
        case = self._case(event["case_id"])
        origin = f"{event['source_partition']}/{event['source_offset']}"
        if origin in case.refused_ids:
            self.part.repeated[seen.topic] += 1
            self._wrong(Law.ONE_OUTCOME, f"event {event['event_id']} is refused again at {_place(seen)}")
        case.refused_ids.add(origin)
        case.refused[event["event_id"]] = case.refused.get(event["event_id"], 0) + 1
        if event["refused_by"] == "admit":
            self.part.pace("admit").tell(seen.at)
            self._mark(event, REFUSED)

    def _asked(self, seen: Any, event: Mapping[str, Any]) -> None:
        self.part.pace("plan").tell(seen.at)
        self._command(event["task_id"], event["case_id"], seen)

    def _booked(self, seen: Any, event: Mapping[str, Any]) -> None:
        if event["kind"] not in ("inference", "person", "wasted"):
            return
        known = hash(event["settlement_id"])
        if known in self._settled:
            self.part.repeated[seen.topic] += 1
            self._wrong(Law.MONEY, f"{event['settlement_id']} stands again in the ledger at {_place(seen)}")
            return
        self._settled.add(known)
        if event["kind"] != "wasted":
            self._case(event["case_id"]).unbooked -= 1

    def _answered(self, seen: Any, event: Mapping[str, Any]) -> None:
        request = event["request_id"]
        command = self._commands.setdefault(request, Command(event["case_id"]))
        command.answered += 1
        if command.answered == 1:
            command.answered_at = seen.at
        self._answers[seen.offset] = (request, seen.at)

    def _commanded(self, seen: Any, event: Mapping[str, Any]) -> None:
        pool = COMMANDS[seen.topic]
        command = self._command(event["request_id"], event["case_id"], seen)
        self.part.pace("plan").tell(seen.at)
        self.part.commands += 1
        if command.answered_at != MS_UNKNOWN:
            self.part.pace(pool).tell(command.answered_at)
            if (seen.topic, seen.partition, seen.offset) not in self._aside:  # else a delay was waited for, or a person
                self.part.pace(pool).wait(seen.at, command.answered_at)
        if seen.offset < self._scope.committed.get((seen.topic, seen.partition), 0):
            command.finished = True
            if not command.answered and (seen.topic, seen.partition, seen.offset) not in self._aside:
                why = f"{pool} committed past {_place(seen)}, and nobody answered it"
                self._wrong(Law.COMMITTED, why)

    def _command(self, request: str, case_id: str, seen: Any) -> Command:
        command = self._commands.setdefault(request, Command(case_id))
        command.told += 1
        if command.told > 1:
            self.part.repeated[seen.topic] += 1
            self._wrong(Law.ONE_OUTCOME, f"{request} of case {case_id} is asked again at {_place(seen)}")
        return command

    def _set_aside(self, seen: Any) -> None:
        said = {name: (value or b"").decode("utf-8", "replace") for name, value in seen.headers}
        try:
            origin = (
                said["aios.dlq.orig.topic"],
                int(said["aios.dlq.orig.partition"]),
                int(said["aios.dlq.orig.offset"]),
            )
        except (KeyError, ValueError):
            return
        self._aside.add(origin)
        if seen.topic in LETTERS:
            generation = int(said.get("aios.dlq.replay.count", "0") or 0)
            key = said.get("ce_subject", "") if seen.topic in SPREAD else seen.key.decode("utf-8", "replace")
            self._letters[said["aios.dlq.id"]] = (generation, key, origin)
            self.part.letters[f"{seen.topic.removesuffix('.dlq')} {said.get('aios.dlq.reason', '')}"] += 1

    def _changed(self, _: Any, event: Mapping[str, Any]) -> None:
        if event["state"] in SETTLING:
            closed = self._closed.get(event["letter_id"], -1)
            self._closed[event["letter_id"]] = max(closed, event["generation"])

    def _audited(self, seen: Any, event: Mapping[str, Any]) -> None:
        at = self._audit_at.get(event["input_topic"])
        if at is not None:
            at.setdefault(event["input_offset"], seen.at)
        if event["case_seq"] == 0:
            self._act(event)
            return
        case = self._case(event["case_id"])
        if not self._scope.whole and case.seq == 0 and event["case_seq"] > 1:
            case.seq = event["case_seq"] - 1  # of a case from before
        if event["case_seq"] != case.seq + 1:
            self._out_of_line(case, seen, event)
            return
        case.seq = event["case_seq"]
        self._transition(case, event)
        if case.remembered is not None and case.remembered[0] == case.seq:
            self._compare(event["case_id"], case)

    def _out_of_line(self, case: Case, seen: Any, event: Mapping[str, Any]) -> None:
        where = f"transition {event['case_seq']} of case {event['case_id']} at {_place(seen)} follows {case.seq}"
        if event["case_seq"] <= case.seq:
            self.part.repeated[seen.topic] += 1
        else:
            case.seq = event["case_seq"]
        self._wrong(Law.AUDIT, where)

    def _act(self, event: Mapping[str, Any]) -> None:
        if event["transition"] != "refused":
            return
        case, refused = self._case(event["case_id"]), _detail(event).get("event_id", "")
        case.refused[refused] = case.refused.get(refused, 0) - 1

    def _transition(self, case: Case, event: Mapping[str, Any]) -> None:
        kind, detail = event["transition"], _detail(event)
        case.status = event["status"]
        match kind:
            case "admitted":
                case.founder = detail.get("event_id", "")
            case "budget_requested":
                case.attempt = case.attempt + 1 if case.step == event["step"] else 1
                case.step, case.waiting = event["step"], detail["reservation_id"]
            case "requested" | "review_requested":
                case.waiting = detail.get("request_id") or detail.get("task_id", "")
                case.step, case.attempt = event["step"], detail.get("attempt", 1)
                self._commands.setdefault(case.waiting, Command(event["case_id"])).audited = True
            case "queued":
                case.step, case.attempt = event["step"], detail["attempt"]
                case.waiting = f"turn/{case.step}/{case.attempt}"
            case "answered":
                self._accept(case, event)
                case.waiting = ""
                case.unbooked += 1
            case "review_decided":
                case.waiting = ""
                case.unbooked += 1
            case "decided":
                case.waiting, case.step, case.attempt = "", "", 0
                case.decided_seq = case.seq

    def _is_unseen(self, case: Case) -> bool:
        """It comes from before what is judged, and what it waits for was asked then."""
        return not (self._scope.whole or case.founder or case.attempt)

    def _accept(self, case: Case, event: Mapping[str, Any]) -> None:
        """Which command an accepted answer belongs to: by its place, or, of one that returned, by who waits."""
        request = case.waiting
        if event["input_topic"] == INFERENCE_COMPLETED.name:
            known = self._answers.get(event["input_offset"])
            if known is not None:
                request = known[0]
            elif event["input_offset"] < self._ends.get(INFERENCE_COMPLETED.name, 0):
                self._wrong(Law.ONE_DECISION, f"case {event['case_id']} went on by an answer that is not there")
        command = self._commands.setdefault(request, Command(event["case_id"]))
        command.accepted += 1
        if command.accepted > 1:
            self._wrong(Law.MONEY, f"{request} of case {event['case_id']} was charged {command.accepted}x")
        elif request != case.waiting and not self._is_unseen(case):
            self._wrong(Law.ONE_DECISION, f"case {event['case_id']} took {request}, and waited for {case.waiting}")

    def _compare(self, case_id: str, case: Case) -> None:
        folded = (case.seq, case.status, case.step, case.attempt, case.waiting, case.founder, case.decided_seq > 0)
        if not self._scope.whole and not case.founder:
            return  # began before
        if folded != case.remembered:
            self._wrong(Law.FOLD, f"case {case_id}: remembered {case.remembered}, the fold gives {folded}")

    def _admitted(self, seen: Any, event: Mapping[str, Any]) -> None:
        case = self._case(event["case_id"])
        source = (event["source_partition"], event["source_offset"])
        self.part.pace("admit").tell(seen.at)
        if self._mark(event, ADMITTED):
            self.part.repeated[seen.topic] += 1
            self._wrong(Law.ONE_OUTCOME, f"document.received.v1/{source[0]}/{source[1]} is admitted again")
            return
        self._note_admitted(event, seen.at)
        case.admitted.append((event["event_id"], event["body_hash"], *source))
        done = self._audit_at[CASE_ADMITTED.name].get(seen.offset)
        if done is not None:
            self.part.pace("plan").wait(seen.at, done)
        passed = seen.offset < self.position.get(seen.topic, 0)
        if passed and not case.seq and (seen.topic, seen.partition, seen.offset) not in self._aside:
            self._wrong(Law.COMMITTED, f"plan's position passes {_place(seen)}, and its case has no transition")

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> Part:
        """Judge what is complete. Call once, after the last record."""
        for offset, (request, at) in self._answers.items():
            done = self._audit_at[INFERENCE_COMPLETED.name].get(offset)
            if done is not None:
                self.part.pace("plan").wait(at, done)
            elif offset < self.position.get(INFERENCE_COMPLETED.name, 0):
                self._passed(offset, request)
        for letter, (generation, key, _) in self._letters.items():
            if generation > self._closed.get(letter, -1) and key in self.cases:
                self.cases[key].letters += 1
        if self._scope.whole or self._scope.drained:
            self._judge_places()
        for request, command in self._commands.items():
            self._judge_command(request, command)
        for case_id, case in self.cases.items():
            self._judge(case_id, case)
        return self.part

    def _passed(self, offset: int, request: str) -> None:
        """An answer without a transition is wasted, unless its case still waits for just this."""
        command = self._commands[request]
        case = self.cases.get(command.case_id)
        aside = (INFERENCE_COMPLETED.name, self._scope.partition, offset) in self._aside
        if case is not None and case.waiting == request and not command.accepted and not aside:
            self._wrong(Law.COMMITTED, f"plan's position passes answer {offset}, for which {command.case_id} waits")

    def _judge_places(self) -> None:
        """Whoever asks a pool or waits for it is counted there, and nobody else is."""
        expected: Counter[str] = Counter()
        for pool, ordinal, tenant in chain.from_iterable(self._asking.values()):
            waits = f"turn:{pool}/{ordinal}/{tenant}"
            expected[waits if self._turnstile.get(waits) else f"pool:{pool}/{tenant}"] += 1
        for key in expected.keys() | self._turnstile.keys():
            if self._turnstile.get(key, 0) != expected[key]:
                why = f"{key} counts {self._turnstile.get(key, 0)}, and {expected[key]} cases ask or wait there"
                self._wrong(Law.FOLD, why)

    def _judge_command(self, request: str, command: Command) -> None:
        self.part.wasted += max(0, command.answered - command.accepted) if command.accepted else 0
        case = self.cases.get(command.case_id)
        if case is None or (not self._scope.whole and not case.founder):
            return
        if command.told and not command.audited:
            self._wrong(Law.AUDIT, f"{request} of case {command.case_id} was asked without an audit record")
        if self._scope.drained and command.audited and not command.told:
            self._wrong(Law.ONE_OUTCOME, f"{request} of case {command.case_id} is audited, but was never asked")
        if command.answered and not command.told:
            self._wrong(Law.ONE_DECISION, f"{request} of case {command.case_id} is answered, but was never asked")

    def _judge(self, case_id: str, case: Case) -> None:
        if not case.admitted and not case.founder:
            if self._scope.whole and (case.seq or case.decision or case.remembered):
                self._wrong(Law.ONE_DECISION, f"case {case_id} has effects, but was never admitted")
            self._refusals_audited(case_id, case)
            return
        self.part.cases += 1
        if case.decision and case.decided_seq != case.decision[4]:
            self._wrong(Law.AUDIT, f"case {case_id} is decided at {case.decision[4]}, audited at {case.decided_seq}")
        if case.remembered is not None and case.remembered[0] > case.seq:
            self._wrong(Law.AUDIT, f"case {case_id} is remembered at {case.remembered[0]}, audited up to {case.seq}")
        if case.unbooked < 0 and case.founder:
            self._wrong(Law.MONEY, f"case {case_id} is charged for {-case.unbooked} more than it took")
        if self._scope.drained:
            self._judge_at_rest(case_id, case)
        self._refusals_audited(case_id, case)
        self._judge_events(case_id, case)

    def _judge_at_rest(self, case_id: str, case: Case) -> None:
        if case.decided_seq and not case.decision:
            self._wrong(Law.AUDIT, f"case {case_id} is audited as decided, but its decision is not there")
        if case.unbooked > 0 and case.founder:
            self._wrong(Law.MONEY, f"case {case_id} took {case.unbooked} more than the ledger says")
        if case.seq and case.remembered is None:
            self._wrong(Law.FOLD, f"case {case_id} has {case.seq} transitions, and is not remembered")
        elif case.remembered is not None and case.remembered[0] < case.seq:
            self._wrong(Law.FOLD, f"case {case_id} is remembered at {case.remembered[0]}, and came to {case.seq}")

    def _refusals_audited(self, case_id: str, case: Case) -> None:
        for event_id, more in case.refused.items():
            if more > 0 or (more < 0 and self._scope.drained):
                self._wrong(Law.AUDIT, f"event {event_id} of case {case_id}: refusals and their audit differ by {more}")

    def _judge_events(self, case_id: str, case: Case) -> None:
        """What became of each event that was admitted under this case."""
        founding = {body for event, body, *_ in case.admitted if event == case.founder}
        for event_id, body, partition, offset in case.admitted:
            if f"{partition}/{offset}" in case.refused_ids:
                self.part.events["refused"] += 1
                if body in founding:
                    self._wrong(Law.ONE_OUTCOME, f"event {event_id} founded case {case_id}, and is refused")
                continue
            fate = self._fate(case)
            if founding and body not in founding and not case.letters:
                fate = "lost" if self._scope.drained else "on its way"  # it conflicts, and nobody refused it
            self.part.events[fate] += 1
            if fate == "lost":
                self._wrong(Law.NONE_LEFT, f"event {event_id} (case {case_id}, {case.status or 'unseen'}) is lost")

    def _fate(self, case: Case) -> str:
        if case.decision:
            return "decided"
        if case.letters:
            return "open: dead letter"
        if case.status == "waiting_for_person":
            return "open: waits for a person"
        return "lost" if self._scope.drained else "on its way"

    # ── small things ─────────────────────────────────────────────────────────────────────────────────

    def _case(self, case_id: str) -> Case:
        case = self.cases.get(case_id)
        if case is None:
            case = self.cases[case_id] = Case()
        return case

    def _mark(self, event: Mapping[str, Any], mark: int) -> bool:
        """Note the outcome of a source record; whether it had this one already. Records from before have none."""
        if event["source_topic"] != topics.DOCUMENT_RECEIVED.name:
            return False
        start, _ = self._scope.sources.get(event["source_partition"], (0, 0))
        marks, at = self.marks.get(event["source_partition"]), event["source_offset"] - start
        if marks is None or not 0 <= at < len(marks):
            return False
        had = bool(marks[at] & mark)
        marks[at] |= mark
        return had

    def _note_admitted(self, event: Mapping[str, Any], at: int) -> None:
        start, end = self._scope.sources.get(event["source_partition"], (0, 0))
        if start <= event["source_offset"] < end:
            self.admitted_at[event["source_partition"]][event["source_offset"] - start] = at

    def _wrong(self, law: Law, what: str) -> None:
        self.part.violations.add(law, what)


def _asks_of(state: Mapping[str, Any]) -> list[Asks]:
    """What a remembered case asks or waits to ask."""
    told = state.get("branches")
    asks = (state, *(json.loads(told) if told else ()))
    return [(one["pool"], one.get("turn", 0), state["tenant"]) for one in asks if one.get("pool")]


def _place(seen: Any) -> str:
    return f"{seen.topic}/{seen.partition}/{seen.offset}"


def _detail(event: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(event["detail"])
    return found
