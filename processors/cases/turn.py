"""One turn of a case: what one event does to it, collected. Pure.

In: what is remembered of the case, its workflow, the record and time that move it. Out: a Moved. Guaranteed:
a turn ends waiting (with a timer) or decided; each transition takes the next case_seq and writes one
audit.recorded; ids are derived from the case, the step and the attempt.

    paying.py   the case's reservation, what is used of it    asking.py     models, through the turnstile
    calling.py  outside systems                               branches.py   several of both at once; each again later
    waits.py    for events and for time                       people.py     people, one or two
    course.py   from step to step, to the end
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from aios.processors.cases import spending
from aios.processors.cases.active import Newest, Versions
from aios.processors.cases.spending import Funds
from aios.processors.cases.turnstile import Turnstile
from aios.processors.language.part import Jump
from aios.processors.language.questions import Call, Question
from aios.processors.language.workflow import NOTED, Kind, Map, Parallel, Workflow
from aios.processors.language.workflow_files import Workflows
from aios.schemas import ids, twins
from aios.schemas.models import AuditRecorded, CaseRemembered, Event
from aios.streams import topics
from aios.streams.expression import ExpressionError
from aios.streams.pool_files import Pool
from aios.streams.topics import Topic

FORGET_AFTER_MS = topics.RETENTION_MS  # the idempotency window
REASON_CHARS_MAX = 200  # of a worker's words on the audit
SPARE_BYTES = 48 << 10  # of a record, for everything beside a case's input, answers and evidence
ROOM_BYTES = topics.RECORD_BYTES_MAX - SPARE_BYTES
REST = "again/"
TOO_LARGE = "answer_too_large"  # the case could not be remembered with it

ACTOR = "plan"
_audit = twins.maker(AuditRecorded)  # of each transition one


@dataclass(frozen=True, slots=True)
class Cause:
    """The record that moves the case, the log's time, which versions of models and prompts are active now, and what
    limits and prices hold.
    """

    topic: str
    partition: int
    offset: int
    now_ms: int
    versions: Versions = field(default_factory=Newest)
    funds: Funds = field(default_factory=Funds)


@dataclass(frozen=True, slots=True)
class Moved:
    """state: None = forget the case. timers: id within the case → due, Unix ms; None cancels.

    skipped: why the event changed nothing and left no trace in the audit: repeated, wasted, late_timer; else empty.
    """

    state: CaseRemembered | None
    events: tuple[tuple[Topic, Event], ...] = ()
    timers: Mapping[str, int | None] = field(default_factory=dict)
    skipped: str = ""


class Waits(Protocol):
    """A case, or one of its branches."""

    @property
    def step(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def turn(self) -> int: ...
    @property
    def waiting_for(self) -> str: ...


def rest_of(path: str, attempt: int) -> str:
    """What a case waits for, and its timer, before it asks again by this attempt."""
    return f"{REST}{path}/{attempt}"


def timer_of(one: Waits) -> str:
    """The timer of the wait it is in; another attempt has another one, and so have the wait for a turn to ask and the
    rest before asking again.
    """
    if one.waiting_for.startswith(REST):
        return one.waiting_for
    return f"queue/{one.step}/{one.attempt}" if one.turn else f"{one.step}/{one.attempt}"


opened = twins.opener(CaseRemembered)
"""Makes the copy that one turn may change, since nobody else has seen it; to replace fields takes far longer."""


def bytes_of(text: str) -> int:
    """As UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _object(values: Mapping[str, Any]) -> str:
    return ids.canonical(values) if values else ""


def within(values: Mapping[str, Any], bytes_max: int) -> str:
    """Canonical JSON within a bound: beyond, the longest values give way to a word that says so."""
    kept, text = dict(values), _object(values)
    for _ in values:
        if bytes_of(text) <= bytes_max:
            break
        longest = max(kept, key=lambda name: len(ids.canonical(kept[name])))
        kept[longest] = f"left out: {len(ids.canonical(kept[longest]))} characters"
        text = _object(kept)
    return text


def step_of(path: str) -> str:
    """The step as the workflow names it: `book` of its third visit `book#3`, and of its branch `book/2`."""
    return path.partition("/")[0].partition("#")[0]


def kind_at(workflow: Workflow, path: str) -> Kind | Question | Call:
    """What stands at a path: a step, or what one of its branches asks."""
    kind, branch = workflow.steps[step_of(path)].kind, path.partition("/")[2]
    if branch and isinstance(kind, Parallel):
        return kind.of[branch].asks
    if branch and isinstance(kind, Map):
        return kind.each.asks
    return kind


def forget_at(state: CaseRemembered) -> int:
    """When a decided case is forgotten, Unix ms."""
    return state.decided_at + FORGET_AFTER_MS


@dataclass(slots=True)
class Parsed:
    """The JSON of a case as values, to be read and not changed.

    May be kept from one turn to the next: each value stands beside its text, and where a case holds another one it is
    read anew.
    """

    _input: tuple[str, Any] | None = None
    _answers: tuple[str, dict[str, Any]] = ("{}", {})
    _written: dict[str, tuple[Any, str]] = field(default_factory=dict)  # by name: an answer, and how it is written

    def input_of(self, state: CaseRemembered) -> Any:
        if self._input is None or self._input[0] != state.input:
            self._input = (state.input, json.loads(state.input))
        return self._input[1]

    def answers_of(self, state: CaseRemembered) -> dict[str, Any]:
        if self._answers[0] != state.answers:
            self._answers = (state.answers, json.loads(state.answers))
        return self._answers[1]

    def text_of(self, answers: Mapping[str, Any]) -> str:
        """Canonical JSON; answers that were there before are not written anew, and none is read again."""
        before, self._written = self._written, {}
        for name, said in sorted(answers.items()):
            known = before.get(name)
            if known is None or known[0] is not said:
                known = (said, ids.canonical({name: said})[1:-1])
            self._written[name] = known
        text = "{" + ",".join(member for _, member in self._written.values()) + "}"
        self._answers = (text, {name: said for name, (said, _) in self._written.items()})
        return text


@dataclass(frozen=True, slots=True)
class Around:
    """What a case does not know of itself. turnstile: before the pools, of its partition. pools: by name.

    parsed: of this case, perhaps from its last turn.
    """

    workflows: Workflows
    cause: Cause
    turnstile: Turnstile
    pools: Mapping[str, Pool]
    parsed: Parsed = field(default_factory=Parsed)


class Turn(ABC):
    """What one event does to one case, collected until moved(); where a case goes on is said in course.py."""

    def __init__(self, state: CaseRemembered, around: Around) -> None:
        self._state = opened(state)
        self._workflows = around.workflows
        self._cause = around.cause
        self._turnstile = around.turnstile
        self._pools = around.pools
        self._events: list[tuple[Topic, Event]] = []
        self._timers: dict[str, int | None] = {}
        self._ruled: list[dict[str, Any]] = []  # what rules chose since the last transition
        self._parsed = around.parsed
        self._seen: tuple[tuple[str, str], Mapping[str, Any]] | None = None

    @cached_property
    def _workflow(self) -> Workflow:
        """The version the case runs on; a decided case never asks for it. Raises ConfigError when it is gone."""
        return self._workflows.at(self._state.workflow, self._state.workflow_version)

    def moved(self) -> Moved:
        return Moved(twins.close(self._state, CaseRemembered), tuple(self._events), dict(self._timers))

    def waiting_step(self) -> Kind | Question | Call | None:
        """The kind of the step the case waits in; None when it waits for nothing."""
        if not self._state.waiting_for or self._state.step == spending.STEP:
            return None
        return kind_at(self._workflow, self._state.step)

    def view(self) -> Mapping[str, Any]:
        """The case as expressions see it."""
        state = self._state
        key = (state.answers, state.step if "/" in state.step else "")
        if self._seen is None or self._seen[0] != key:
            seen = self._workflow.view(self._parsed.input_of(state), self.answers())
            self._seen = (key, self._within(state.step, seen))
        return self._seen[1]

    def answers(self) -> dict[str, Any]:
        """What was answered so far, by step; to be read, not changed."""
        return self._parsed.answers_of(self._state)

    def _within(self, path: str, seen: dict[str, Any]) -> dict[str, Any]:
        """What an item of a map sees beside the case."""
        name, _, branch = path.partition("/")
        kind = self._workflow.steps[step_of(name)].kind if branch else None
        if isinstance(kind, Map):
            index, items = int(branch), kind.over.evaluate(seen)
            if not isinstance(items, list) or index >= len(items):
                raise ExpressionError(f"`{kind.over.source}` has no item {index} any more")
            seen |= {"item": items[index], "index": index}
        return seen

    def room(self) -> int:
        """Bytes that may be added to what is remembered of the case, whose record has a bound."""
        state = self._state
        return ROOM_BYTES - bytes_of(state.input) - bytes_of(state.answers) - bytes_of(state.told)

    def record(
        self, transition: str, *, status: str = "", step: str = "", actor: str = ACTOR, shown: str = "", **detail: Any
    ) -> None:
        """The next transition of the case. status: empty = unchanged. detail: evidence, never payload. shown: JSON for
        people, which the chain does not keep.
        """
        if self._ruled:
            detail["ruled"], self._ruled = self._ruled, []
        state = self._change(case_seq=self._state.case_seq + 1, status=status or self._state.status)
        self._tell(
            topics.AUDIT_RECORDED,
            _audit(
                audit_id=ids.derive("audit", state.case_id, str(state.case_seq)),
                case_id=state.case_id,
                tenant=state.tenant,
                workflow=state.workflow,
                case_seq=state.case_seq,
                transition=transition,
                status=state.status,
                step=step or state.step,
                actor=actor,
                detail=ids.canonical(detail),
                input_topic=self._cause.topic,
                input_partition=self._cause.partition,
                input_offset=self._cause.offset,
                at=self._cause.now_ms,
                shown=shown,
            ),
        )

    def stop_waiting(self) -> None:
        """What the case waits for is here, or not wanted: nor is its timer."""
        self._timers[timer_of(self._state)] = None
        self._change(waiting_for="")

    def remember_answer(self, said: Any) -> None:
        """Keep what the step in hand was told, for later expressions."""
        name = step_of(self._state.step)
        self._answer({**self.answers(), name: said})

    def forget_answer(self, name: str) -> None:
        """Where a question of an earlier round has failed now, what was said then is no answer any more.

        Of an effect it is: what was done then stands, since it was not done anew.
        """
        known = self.answers()
        if name in known:
            self._answer({key: said for key, said in known.items() if key != name})

    def remember_noted(self, signs: Iterable[str]) -> None:
        """Keep what policies noted of the texts that were read so far, for later expressions."""
        known = self.answers()
        noted = sorted({*known.get(NOTED, ()), *signs})
        if noted:
            self._answer({**known, NOTED: noted})

    def _answer(self, answers: Mapping[str, Any]) -> None:
        """What was answered is this from now on."""
        self._change(answers=self._parsed.text_of(answers))

    def _wait(self, name: str, attempt: int, command: str, due_ms: int) -> None:
        state = self._change(step=name, attempt=attempt, waiting_for=command)
        self._timers[timer_of(state)] = due_ms

    def _because(self, reason: str | None) -> None:
        if reason is not None:
            self._change(reasons=(*self._state.reasons, reason))

    def _tell(self, topic: Topic, event: Event) -> None:
        self._events.append((topic, event))

    def _change(self, **fields: Any) -> CaseRemembered:
        state = self._state
        for name, value in fields.items():
            setattr(state, name, value)
        return state

    @abstractmethod
    def jump(self, where: Jump) -> None:
        """Go on as a step says, with its reason."""

    @abstractmethod
    def enter(self, name: str) -> None:
        """Go on from a step until the case waits or is decided."""

    @abstractmethod
    def came(self, step: Question | Call, said: Mapping[str, Any]) -> None:
        """What was asked has been answered."""

    @abstractmethod
    def failed(self, step: Question | Call, *, heals: bool) -> None:
        """What was asked is not answered, and nobody else is asked. heals: perhaps it is, later."""
