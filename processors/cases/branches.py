"""How a turn asks several at the same time: the branches of a parallel step, and the items of a map. Pure.

In: the step, an answer to one of its branches, silence of one. Out: what asking.py and calling.py write for each.
Guaranteed: a branch goes through the same code as a step that asks alone, since it holds the same fields of the case
(step path, attempt, command, pool, turn, how often, whom it stands in for, how often again) and these are the case's
while it moves; its ids and timers are those of its path, `gather/screen` or `read_all/2`; each branch ends, by an
answer or by its timers, and the case goes on when the last one has. The case's own `waiting_for` is then an id that
nothing is sent under.

Rejected: a branch as a case of its own (two decisions, two histories); going on at the first failure (answers that were
paid for would be thrown away).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from aios.processors.cases.calling import Calling
from aios.processors.cases.turn import REST, Around, Moved, rest_of, step_of, timer_of
from aios.processors.language.part import Again
from aios.processors.language.questions import Call, Connect, Infer, Question
from aios.processors.language.workflow import Map, Parallel, again_of, may_act
from aios.schemas import ids
from aios.schemas.models import CaseRemembered


@dataclass(slots=True, kw_only=True)
class Strand:
    """One branch, of one turn. said: its answer. done: it waits for nothing more; without an answer it has failed."""

    step: str
    attempt: int = 0
    waiting_for: str = ""
    pool: str = ""
    turn: int = 0
    asked: int = 0
    fallback_of: str = ""
    again: int = 0
    said: Mapping[str, Any] | None = None
    done: bool = False


_FIELDS = ("step", "attempt", "waiting_for", "pool", "turn", "asked", "fallback_of", "again")
_VALUES = attrgetter(*_FIELDS)
_BLANK = tuple((one.name, getattr(Strand(step=""), one.name)) for one in fields(Strand))


def strands_of(state: CaseRemembered) -> list[Strand]:
    """What the case remembers of its branches."""
    return [Strand(**one) for one in json.loads(state.branches)] if state.branches else []


def remembered(strands: Sequence[Strand]) -> str:
    """Empty where there are none; a field that says nothing is left out."""
    kept = [{name: value for name, blank in _BLANK if (value := getattr(one, name)) != blank} for one in strands]
    return ids.canonical(kept) if kept else ""


class Branching(Calling):
    """A turn that may move one branch of a case, or open several."""

    def __init__(self, state: CaseRemembered, around: Around) -> None:
        super().__init__(state, around)
        self._strands = strands_of(state)
        self._inside: int | None = None  # the strand whose fields are the case's now
        self._outside: dict[str, Any] = {}

    def moved(self) -> Moved:
        if self._strands or self._state.branches:
            self._change(branches=remembered(self._strands))
        return super().moved()

    # Whom an event is for

    def awaits(self, command: str) -> bool:
        """Whether the case, or one of its branches, waits for this; from here on the turn is that branch's."""
        if self._state.waiting_for == command:
            return bool(command)
        return self._move_into(lambda strand: bool(command) and strand.waiting_for == command)

    def awaits_timer(self, timer_id: str) -> bool:
        """The same of a timer: of an answer, of the wait for a turn to ask, or the turn itself."""
        state = self._state
        if state.waiting_for and timer_id in (timer_of(state), state.waiting_for):
            return True
        return self._move_into(
            lambda strand: bool(strand.waiting_for) and timer_id in (timer_of(strand), strand.waiting_for)
        )

    def is_called(self, timer_id: str) -> bool:
        """Whether a timer that was awaited is the turn to ask, and no end of a wait."""
        return timer_id == self._state.waiting_for

    def _move_into(self, is_it: Callable[[Strand], bool]) -> bool:
        number = next((number for number, one in enumerate(self._strands) if is_it(one)), None)
        if number is None:
            return False
        self._enter_strand(number)
        return True

    # Inside one

    def came(self, step: Question | Call, said: Mapping[str, Any]) -> None:
        """A branch has its answer and waits; a step that asks alone leads on."""
        if self._inside is not None:
            self.leave_pool()
            self._finish(said)
        elif isinstance(step, Infer | Connect):
            self.remember_answer(said)
            self.enter(step.then)

    def failed(self, step: Question | Call, *, heals: bool) -> None:
        """Where time may heal it, it is asked again. Else a branch has no answer, and the others are waited for; a step
        that asks alone leads to its on_error.
        """
        if heals and (again := self._again()) is not None:
            self._rest(again)
        elif self._inside is not None:
            self.leave_pool()
            self.record("branch_failed")
            self._finish(None)
        elif isinstance(step, Infer | Connect):
            if not may_act(step):
                self.forget_answer(step_of(self._state.step))
            self.jump(step.on_error)

    def _again(self) -> Again | None:
        """What the step says of asking again, unless that is used up."""
        again = again_of(self._workflow.steps[step_of(self._state.step)].kind)
        return again if again is not None and self._state.again < again.times else None

    def _rest(self, again: Again) -> None:
        """Give the place up, and wait before it is asked again.

        Not for a random time: however many cases come back at once, the turnstile lets in no more than else.
        """
        self.leave_pool()
        state = self._state
        rest_s = again.rests_s[state.again]
        until, attempt = self._cause.now_ms + 1_000 * rest_s, state.attempt + 1
        self._change(again=state.again + 1)
        self._wait(state.step, attempt, rest_of(state.step, attempt), until)
        self.record("resting", attempt=attempt, again=state.again, times=again.times, until=until)

    def rests(self) -> bool:
        """Whether the case, or the branch that the turn is of, waits before it asks again."""
        return self._state.waiting_for.startswith(REST)

    def ask_after_rest(self, step: Question | Call) -> None:
        """The same, by an attempt of its own."""
        path, attempt = self._state.step, self._state.attempt
        self.stop_waiting()
        if isinstance(step, Question):
            self.ask_first(path, step, attempt)
        else:
            self.call_system(path, step, attempt)

    def _finish(self, said: Mapping[str, Any] | None) -> None:
        if self._inside is not None:
            self._change(waiting_for="")
            strand = self._strands[self._inside]
            strand.said, strand.done = said, True

    def _enter_strand(self, number: int) -> None:
        self._outside = _fields_of(self._state)
        self._inside = number
        self._change(**_fields_of(self._strands[number]))

    def _leave_strand(self) -> None:
        if self._inside is None:
            return
        for name, value in _fields_of(self._state).items():
            setattr(self._strands[self._inside], name, value)
        self._inside = None
        self._change(**self._outside)

    def room(self) -> int:
        """Each branch has an equal part, so that all their answers are remembered whoever comes first."""
        return super().room() // (1 if self._inside is None else len(self._strands))

    # Opening, joining, giving up

    def open_branches(self, path: str, step: Parallel | Map) -> None:
        """Ask all of them; where none can be asked, or none is to be, the case goes on at once."""
        if isinstance(step, Parallel):
            asks = {name: branch.asks for name, branch in step.of.items()}
        else:
            self._change(step=path, attempt=1)
            items = step.over.evaluate(self.view())
            if not isinstance(items, list) or len(items) > step.items_max:
                self.record("not_asked", status=step.status, reason="too_many_items")
                if not may_act(step.each.asks):
                    self.forget_answer(step_of(path))
                self.jump(step.on_error)
                return
            asks = dict.fromkeys(map(str, range(len(items))), step.each.asks)
        self._change(step=path, attempt=1, waiting_for=ids.command_id(self._state.case_id, path, 1))
        self.record("branched", status=step.status, branches=list(asks))
        self._strands = [Strand(step=f"{path}/{name}") for name in asks]
        for number, ask in enumerate(asks.values()):
            self._enter_strand(number)
            self._put(ask)
            self._leave_strand()
        self.rejoin()

    def _put(self, ask: Question | Call) -> None:
        if isinstance(ask, Question):
            self.ask_model(self._state.step, ask)
        else:
            self.call_system(self._state.step, ask)

    def rejoin(self) -> None:
        """Back to the case; when the last branch is done it goes on."""
        self._leave_strand()
        if not self._state.waiting_for or not all(strand.done for strand in self._strands):
            return
        step = self.waiting_step()
        if not isinstance(step, Parallel | Map):
            return
        strands, self._strands = self._strands, []
        self._change(waiting_for="")
        self._keep(step, strands)
        if any(strand.said is None for strand in strands):
            self.jump(step.on_error)
        else:
            self.enter(step.then)

    def _keep(self, step: Parallel | Map, strands: Sequence[Strand]) -> None:
        if isinstance(step, Map):
            self.remember_answer([strand.said for strand in strands])
            return
        for branch in (one.step.rpartition("/")[2] for one in strands if one.said is None):
            if not may_act(step.of[branch].asks):
                self.forget_answer(branch)
        said = {one.step.rpartition("/")[2]: one.said for one in strands if one.said is not None}
        self._answer({**self.answers(), **said})

    def give_up_branches(self, reason: str) -> None:
        """Nobody waits for them any more."""
        for number in range(len(self._strands)):
            self._enter_strand(number)
            self.give_up(reason)
            self._leave_strand()
        self._strands = []

    def give_up(self, reason: str) -> None:
        """What is asked is called off, its timer and its place are given back."""
        self.call_off(reason)
        if self._state.waiting_for:
            self.stop_waiting()
        self.leave_pool()


def _fields_of(one: CaseRemembered | Strand) -> dict[str, Any]:
    return dict(zip(_FIELDS, _VALUES(one), strict=True))
