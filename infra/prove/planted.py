"""Violations planted into a sound history, one of each kind: what the verifier must catch, and under which law.

Enters: nothing. Leaves: histories of one partition, records as they would stand in the topics, each with one thing
wrong, and what the pure checkers (fold.py, arrivals.py) say of it. Guaranteed: the history without a plant is sound,
so that what is caught is the plant. `aios prove planted` prints them; a verifier that has never failed proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from aios.infra.prove.arrivals import Arrivals
from aios.infra.prove.books import KNOWN_MS, Books
from aios.infra.prove.findings import Findings, Law, Part
from aios.infra.prove.fold import ORDER, POSITION, STATE, Fold, Scope
from aios.infra.prove.journal import Entry, Kind, digest
from aios.infra.prove.reading import Seen
from aios.streams.topics import (
    AUDIT_RECORDED,
    BUDGET_ANSWERED,
    BUDGET_CHANGED,
    BUDGET_DECLARED,
    CASE_ADMITTED,
    CASE_DECIDED,
    DOCUMENT_RECEIVED,
    EVENT_REFUSED,
    INFERENCE_COMPLETED,
    LETTER_CHANGED,
    USAGE_SETTLED,
)
from aios.streams.topology import ADMIT, POOLS

COMMANDS = POOLS[1].reads[0].name
DEAD = ADMIT.dead_letters.name
Fields = dict[str, Any]


@dataclass(slots=True)
class Line:
    """One record of a history."""

    topic: str
    offset: int
    key: bytes
    event: Fields | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)

    def seen(self) -> Seen:
        at = 1_000 + self.offset + (KNOWN_MS if self.topic in (BUDGET_CHANGED.name, USAGE_SETTLED.name) else 0)
        value = b"" if self.event is None else self.event.get("bytes", b"-")
        return Seen(self.topic, 0, self.offset, at, self.key, value, self.headers)


class History:
    """What one partition of each topic holds, and what producers were told."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Line]] = {}
        self.journal: list[Entry] = []
        self.committed: dict[tuple[str, int], int] = {}
        self.admit_position = 0
        self._seqs: dict[str, int] = {}

    def put(self, topic: str, key: str, event: Fields | None, **headers: str) -> int:
        lines = self.topics.setdefault(topic, [])
        kept = [(f"aios.dlq.{name.replace('_', '.')}", value.encode()) for name, value in headers.items()]
        lines.append(Line(topic, len(lines), key.encode(), event, kept))
        return len(lines) - 1

    def arrive(self, key: str, text: str, kind: Kind = Kind.GOOD, *, via: str = "kafka") -> int:
        """An event is published and acknowledged; its offset."""
        offset = self.put(DOCUMENT_RECEIVED.name, key, {"idempotency_key": "", "text": text})
        entry = Entry(n=offset, via=via, kind=kind, key=key, body=digest(text.encode()), at=1, acked=1)
        if via == "kafka":
            entry = replace(entry, topic=DOCUMENT_RECEIVED.name, partition=0, offset=offset)
        self.journal.append(entry)
        return offset

    def admit(self, case: str, source: int, body: str) -> int:
        event = {"case_id": case, "event_id": f"e{source}", "body_hash": body, **_source(source)}
        return self.put(CASE_ADMITTED.name, case, event)

    def audit(self, case: str, transition: str, status: str, cause: tuple[str, int], **detail: Any) -> None:
        seq = self._seqs[case] = self._seqs.get(case, 0) + 1
        event: Fields = {"case_id": case, "case_seq": seq, "transition": transition, "status": status}
        event |= {"step": detail.pop("step", ""), "detail": json.dumps(detail)}
        self.put(AUDIT_RECORDED.name, case, event | {"input_topic": cause[0], "input_offset": cause[1]})

    def case(self, case: str, source: int, body: str) -> None:
        """Admitted, asked, answered, decided, remembered."""
        cause = (CASE_ADMITTED.name, self.admit(case, source, body))
        self.audit(case, "admitted", "admitted", cause, event_id=f"e{source}")
        self.put(COMMANDS, case, {"request_id": f"r-{case}", "case_id": case})
        self.audit(case, "requested", "classifying", cause, step="classify", request_id=f"r-{case}", attempt=1)
        self.answer(case)
        self.decide(case)
        self.put(STATE, case, self.state(source, seq=4))

    def answer(self, case: str) -> None:
        offset = self.put(INFERENCE_COMPLETED.name, case, {"request_id": f"r-{case}", "case_id": case})
        cause = (INFERENCE_COMPLETED.name, offset)
        self.audit(case, "answered", "classifying", cause, step="classify")
        self.settle(case, f"s-{case}-{offset}", "inference", cost=10)

    def reserve(self, case: str) -> None:
        """A reservation that is granted, spent in part, and given back."""
        self.stand(reserved=50, spent=0)
        self.put(BUDGET_ANSWERED.name, case, {"reservation_id": f"h-{case}", "case_id": case, "status": "granted"})
        self.stand(reserved=30, spent=20)
        self.settle(case, f"c-{case}", "closed", cost=0)
        self.stand(reserved=0, spent=20)

    def settle(self, case: str, settlement: str, kind: str, *, cost: int) -> None:
        """A line of the ledger."""
        line: Fields = {"settlement_id": settlement, "reservation_id": f"h-{case}", "case_id": case, "kind": kind}
        line |= {"tenant": "demo", "workflow": "document.triage", "cost_micro": cost}
        self.put(USAGE_SETTLED.name, "demo", line)

    def stand(self, *, reserved: int, spent: int) -> None:
        """Where the budget stands, of which 100 may be spent."""
        event = {"budget": "demo/*", "reserved_micro": reserved, "spent_micro": spent}
        event |= {"over_micro": 0, "wasted_micro": 0}
        self.put(BUDGET_CHANGED.name, "demo/*", event)

    def decide(self, case: str, label: str = "card") -> None:
        cause = (INFERENCE_COMPLETED.name, len(self.topics[INFERENCE_COMPLETED.name]) - 1)
        self.audit(case, "decided", "decided", cause)
        decided = {"case_id": case, "decision_id": f"d-{case}", "outcome": "routed", "label": label}
        self.put(CASE_DECIDED.name, case, decided | {"decided_by": "policy", "case_seq": self._seqs[case]})

    def refuse(self, case: str, source: int, by: str) -> None:
        event: Fields = {"case_id": case, "event_id": f"e{source}", "refused_by": by, **_source(source)}
        self.put(EVENT_REFUSED.name, case, event)
        audit: Fields = {"case_id": case, "case_seq": 0, "transition": "refused", "status": "refused", "step": ""}
        audit |= {"detail": json.dumps({"event_id": f"e{source}"}), "input_topic": "", "input_offset": -1}
        self.put(AUDIT_RECORDED.name, case, audit)

    def die(self, letter: str, source: int) -> None:
        """The event is a dead letter of admit."""
        place = {"orig_topic": DOCUMENT_RECEIVED.name, "orig_partition": "0", "orig_offset": str(source)}
        self.put(DEAD, f"k-{letter}", None, id=letter, **place, reason="undecodable")

    def state(self, source: int, *, seq: int) -> Fields:
        remembered = {"case_seq": seq, "status": "decided", "step": "", "attempt": 0, "waiting_for": ""}
        return remembered | {"event_id": f"e{source}", "decided_at": 9}

    def drop(self, topic: str, keep: Callable[[Fields], bool]) -> None:
        """Take records away, as if they had never been committed; offsets stay."""
        self.topics[topic] = [line for line in self.topics[topic] if line.event is not None and keep(line.event)]

    def judge(self, *, drained: bool = True) -> Findings:
        """What the verifier says of it."""
        size = max((line.offset + 1 for line in self.topics[DOCUMENT_RECEIVED.name]), default=0)
        sources = {0: (0, size)}
        fold = Fold(Scope(partition=0, committed=self.committed, sources=sources, drained=drained))
        for line in self._ordered():
            fold.take(line.seen(), line.event)
        arrivals = Arrivals(sources, drained=drained)
        arrivals.expect(self.journal)
        arrivals.position(0, self.admit_position)
        for line in self.topics[DOCUMENT_RECEIVED.name]:
            arrivals.arrived(line.seen(), line.event)
        for line in self.topics.get(DEAD, ()):
            arrivals.letter(line.seen())
        for line in self.topics.get(LETTER_CHANGED.name, ()):
            arrivals.changed(line.event or {})
        part = fold.finish()
        arrivals.became(fold.marks, fold.admitted_at)
        part.merge(arrivals.finish())
        part.merge(self._books(drained=drained))
        return Findings(part, drained)

    def _books(self, *, drained: bool) -> Part:
        books = Books(drained=drained, is_whole=True)
        takes = {
            BUDGET_DECLARED.name: books.declared,
            BUDGET_CHANGED.name: books.changed,
            BUDGET_ANSWERED.name: books.answered,
            USAGE_SETTLED.name: books.booked,
            CASE_DECIDED.name: books.decided,
        }
        for topic, take in takes.items():
            for line in self.topics[topic]:
                take(line.seen(), line.event or {})
        return books.finish()

    def _ordered(self) -> Iterator[Line]:
        for topic in ORDER:
            yield from self.topics.get(topic, ())


def sound() -> History:
    """Two decided cases, one with a reservation, a repeat, a conflict, a refusal, two dead letters; all is committed.

    One of the letters is discarded.
    """
    history = History()
    history.put(BUDGET_DECLARED.name, "demo/*", {"budget": "demo/*", "hard_micro": 100, "window": "total"})
    history.reserve("a")
    history.case("a", history.arrive("ka", "my card"), "b1")
    history.case("b", history.arrive("kb", "my loan", via="http"), "b2")
    history.admit("a", history.arrive("ka", "my card", Kind.REPEAT), "b1")
    conflict = history.arrive("kb", "another loan", Kind.CONFLICT)
    history.admit("b", conflict, "b3")
    history.refuse("b", conflict, "plan")
    history.refuse("x", history.arrive("kx", " "), "admit")
    for letter in ("l1", "l2"):
        history.die(letter, history.arrive(f"k-{letter}", "bad", Kind.UNDECODABLE))
    history.put(LETTER_CHANGED.name, "l2", {"letter_id": "l2", "generation": 0, "state": "discarded"})
    ends = {topic: len(history.topics[topic]) for topic in (CASE_ADMITTED.name, INFERENCE_COMPLETED.name)}
    history.put(STATE, POSITION.decode(), {"inputs": ends})
    history.admit_position = len(history.topics[DOCUMENT_RECEIVED.name])
    history.committed = {(COMMANDS, 0): len(history.topics[COMMANDS])}
    return history


@dataclass(frozen=True, slots=True)
class Plant:
    """law: under which it must be caught. drained: whether the system has to be at rest for that."""

    law: Law
    what: str
    do: Callable[[History], None]
    drained: bool = False


def _last(history: History, topic: str, **changed: Any) -> None:
    """The last record of a topic once more, at the next offset."""
    line = history.topics[topic][-1]
    assert line.event is not None
    history.put(topic, line.key.decode(), line.event | changed)


def _change(history: History, topic: str, **changed: Any) -> None:
    line = history.topics[topic][0]
    assert line.event is not None
    line.event |= changed


def _lose_answer(history: History) -> None:
    """Plan moved past an answer, and nothing came of it."""
    for topic in (AUDIT_RECORDED.name, CASE_DECIDED.name):
        history.drop(topic, lambda event: event["case_id"] != "b" or event.get("case_seq", 9) in (0, 1, 2))
    history.drop(STATE, lambda event: event.get("event_id") != "e1")


def _lose_case(history: History) -> None:
    """As above, but the answer never came either."""
    _lose_answer(history)
    history.drop(INFERENCE_COMPLETED.name, lambda event: event["case_id"] != "b")
    history.committed = {}
    for line in history.topics[STATE]:
        if line.key == POSITION and line.event is not None:
            line.event["inputs"] = {}


def _never_there(history: History) -> None:
    history.topics[DOCUMENT_RECEIVED.name].pop(1)  # the one that was posted


def _acknowledged_nowhere(history: History) -> None:
    entry = Entry(n=99, via="kafka", kind=Kind.GOOD, key="k", body="b", at=1, acked=1)
    history.journal.append(replace(entry, topic=DOCUMENT_RECEIVED.name, partition=0, offset=99))


def _other_bytes(history: History) -> None:
    history.journal[0].body = sha256(b"something else").hexdigest()[:16]


def _take_audit(seq: int) -> Callable[[History], None]:
    return lambda history: history.drop(
        AUDIT_RECORDED.name, lambda event: (event["case_id"], event["case_seq"]) != ("b", seq)
    )


def _charge_twice(history: History) -> None:
    history.answer("b")


def _unanswered(history: History) -> None:
    history.put(COMMANDS, "b", {"request_id": "r-new", "case_id": "b"})
    history.committed = {(COMMANDS, 0): len(history.topics[COMMANDS])}


def _forget(history: History) -> None:
    history.drop(STATE, lambda event: event.get("event_id") != "e0")


def _count_nobody(history: History) -> None:
    history.put(STATE, "pool:classify.bulk/demo", {"outstanding": 1, "first": 1, "next": 1})


def _unread(history: History) -> None:
    history.arrive("kz", "unread")


def _pass_unseen(history: History) -> None:
    history.arrive("kz", "never processed")
    history.admit_position += 1


PLANTED: Mapping[str, Plant] = {
    "admitted twice": Plant(
        Law.ONE_OUTCOME, "a source record is admitted again", lambda h: _last(h, CASE_ADMITTED.name)
    ),
    "admitted and refused": Plant(
        Law.ONE_OUTCOME, "an admitted event is refused by admit", lambda h: h.refuse("a", 0, "admit")
    ),
    "refused twice": Plant(Law.ONE_OUTCOME, "a refusal stands twice", lambda h: _last(h, EVENT_REFUSED.name)),
    "asked twice": Plant(Law.ONE_OUTCOME, "a command stands twice", lambda h: _last(h, COMMANDS)),
    "left on its way": Plant(Law.NONE_LEFT, "a case waits for an answer that never comes", _lose_case, drained=True),
    "never processed": Plant(Law.NONE_LEFT, "an event stands unread", _unread, drained=True),
    "posted, not there": Plant(Law.ACKNOWLEDGED, "a 2xx without a record", _never_there),
    "acknowledged, not there": Plant(
        Law.ACKNOWLEDGED, "a broker's acknowledgement without a record", _acknowledged_nowhere
    ),
    "other bytes": Plant(Law.ACKNOWLEDGED, "another record than the acknowledged one", _other_bytes),
    "second decision": Plant(
        Law.ONE_DECISION, "a case is decided differently", lambda h: _last(h, CASE_DECIDED.name, label="loan")
    ),
    "decided again": Plant(Law.ONE_DECISION, "a decision stands twice", lambda h: _last(h, CASE_DECIDED.name)),
    "decided from nothing": Plant(
        Law.ONE_DECISION,
        "a decision of a case that nobody admitted",
        lambda h: _last(h, CASE_DECIDED.name, case_id="z"),
    ),
    "no audit of the decision": Plant(Law.AUDIT, "a decision without its audit record", _take_audit(4)),
    "gap in the audit": Plant(Law.AUDIT, "a transition is missing", _take_audit(2)),
    "audited twice": Plant(
        Law.AUDIT, "a transition stands twice", lambda h: h.topics[AUDIT_RECORDED.name].append(_again(h, 3))
    ),
    "charged twice": Plant(Law.MONEY, "an answer to one command is accepted twice", _charge_twice),
    "in the ledger twice": Plant(
        Law.MONEY, "a line of the ledger stands twice", lambda h: _last(h, USAGE_SETTLED.name)
    ),
    "charged for nothing": Plant(
        Law.MONEY,
        "a case is charged for an answer it did not take",
        lambda h: _last(h, USAGE_SETTLED.name, settlement_id="s-other"),
    ),
    "not in the ledger": Plant(
        Law.MONEY,
        "an answer was taken, and the ledger does not say so",
        lambda h: h.drop(USAGE_SETTLED.name, lambda event: event["case_id"] != "b"),
        drained=True,
    ),
    "limit passed": Plant(
        Law.MONEY, "more is reserved and spent than may be", lambda h: h.stand(reserved=60, spent=41)
    ),
    "released twice": Plant(
        Law.MONEY, "a budget has less than nothing reserved", lambda h: h.stand(reserved=-1, spent=20)
    ),
    "in no books": Plant(
        Law.MONEY,
        "a budget has less in its books than the ledger says",
        lambda h: _last(h, BUDGET_CHANGED.name, spent_micro=10),
        drained=True,
    ),
    "never released": Plant(
        Law.MONEY,
        "a decided case keeps its reservation",
        lambda h: h.drop(USAGE_SETTLED.name, lambda event: event["kind"] != "closed"),
        drained=True,
    ),
    "position passes an event": Plant(Law.COMMITTED, "admit moved past an event it did not process", _pass_unseen),
    "closed for nothing": Plant(
        Law.COMMITTED,
        "a dead letter is closed as returned, and never came back",
        lambda h: _change(h, LETTER_CHANGED.name, state="replayed"),
    ),
    "position passes an answer": Plant(Law.COMMITTED, "plan moved past an answer it did not use", _lose_answer),
    "commit passes a command": Plant(Law.COMMITTED, "a pool committed past a command nobody answered", _unanswered),
    "remembered otherwise": Plant(
        Law.FOLD, "a remembered case is not its fold", lambda h: _change(h, STATE, status="x")
    ),
    "a place of nobody": Plant(
        Law.FOLD,
        "a place at a pool is counted that no case holds",
        _count_nobody,
    ),
    "an uncounted command": Plant(
        Law.FOLD,
        "a case asks a pool and is not counted there",
        lambda h: _change(h, STATE, pool="classify.bulk", turn=0, tenant="demo"),
    ),
    "forgotten": Plant(Law.FOLD, "a case is not remembered", _forget, drained=True),
}
"""By name; progress (I12) is judged by instants and bounds, see verify.py."""


def caught(plant: Plant) -> Findings:
    """What the verifier says of a sound history with this plant."""
    history = sound()
    plant.do(history)
    return history.judge(drained=plant.drained)


def _again(history: History, at: int) -> Line:
    line = history.topics[AUDIT_RECORDED.name][at]
    return Line(line.topic, len(history.topics[line.topic]), line.key, line.event)


def _source(offset: int) -> Fields:
    return {"source_topic": DOCUMENT_RECEIVED.name, "source_partition": 0, "source_offset": offset}
