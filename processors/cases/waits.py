"""How a turn waits for an event that the case is told, or for a time; and circles. Pure.

In: the step, an event (case.told.v1), its time. Out: an audit entry that shows what is waited for, with the hash of
what people are told meanwhile, and the words beside it. Guaranteed: an event that comes while the case is elsewhere,
and that one of its waits can take, is kept until the case is there (TOLD_MAX of them, and KEPT_BYTES_MAX), so that a
cancellation is not lost to a booking under way; an event that comes twice changes nothing; a step in a circle is
visited at most once more than the wait takes events, since in the last round the wait listens to the clock alone; a
step visited again has another path, `book#2`, and so other ids and timers.

Rejected: a counter of visits for every step of every case (one that decides alone, without circles, would carry it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aios.processors.cases.branches import Branching
from aios.processors.cases.turn import bytes_of, step_of
from aios.processors.language import answers
from aios.processors.language.workflow import WAIT_S_MAX, Wait
from aios.schemas import ids
from aios.schemas.models import CaseTold
from aios.streams.errors import Reason, RecordError
from aios.streams.shapes import EXACT_MAX

TOLD_MAX = 8  # events that are kept for a wait to come
KEPT_BYTES_MAX = 96 << 10  # of all of them, as they are remembered
SEEN_MAX = 32  # ids of events that are known


class Waiting(Branching):
    """A turn that may wait for what the case is told."""

    def wait_for(self, path: str, step: Wait) -> None:
        """Take the oldest event that is kept for this wait, or wait."""
        now, view = self._cause.now_ms, self.view()
        self._change(step=path, attempt=1)
        if self._listens(step) and (kept := self._take_kept(step)) is not None:
            self._take(step, kept)
            return
        asked = now + 1_000 * (step.for_s or 0) if step.until is None else int(step.until.evaluate(view))
        until = min(max(asked, now), now + 1_000 * WAIT_S_MAX)
        says = {name: value.evaluate(view) for name, value in step.says.items()}
        self._wait(path, 1, ids.command_id(self._state.case_id, path, 1), until)
        self.record(
            "waiting",
            status=step.status,
            event=step.event or "",
            until=until,
            says_hash=ids.body_hash(says) if says else "",
            answers_caller=step.answers_caller,
            shown=ids.canonical(says) if says else "",
        )

    def hear(self, event: CaseTold) -> None:
        """Go on with it, keep it for a wait to come, or note why it changes nothing."""
        said, known = _body(event), self._told()
        step = self.waiting_step()
        waits = isinstance(step, Wait) and step.event == event.kind
        self._remember_told(known["kept"], [*known["seen"], event.event_id])
        asking = [step_of(self._state.step)] if waits else self._workflow.waits_for(event.kind)
        lacked = [self._lacks(name, said) for name in asking]
        if lacked and all(lacked):
            self._ignore(event, "incomplete", lacks=lacked[0])
        elif isinstance(step, Wait) and waits and self._listens(step):
            self.stop_waiting()
            self._take(step, {"event_id": event.event_id, "kind": event.kind, "by": event.by, "body": said})
        elif waits or event.kind not in self._workflow.hears:
            self._ignore(event, "rounds_spent" if waits else "nobody_waits_for_this")
        else:
            kept = [*known["kept"], {"event_id": event.event_id, "kind": event.kind, "by": event.by, "body": said}]
            if len(kept) > TOLD_MAX or bytes_of(ids.canonical(kept)) > KEPT_BYTES_MAX:
                self._ignore(event, "too_many_kept")
                return
            self._remember_told(kept, self._told()["seen"])
            self.record("told", actor=event.by, event_id=event.event_id, kind=event.kind, kept=True)

    def has_heard(self, event: CaseTold) -> bool:
        return event.event_id in self._told()["seen"]

    def _take(self, step: Wait, kept: Mapping[str, Any]) -> None:
        name = step_of(self._state.step)
        self.remember_answer(as_tried(self._workflow.examples.get(name, ()), kept["body"]))
        self.record("told", actor=kept["by"], event_id=kept["event_id"], kind=kept["kind"])
        if step.then is not None:
            self.enter(step.then)

    def _ignore(self, event: CaseTold, reason: str, **detail: str) -> None:
        self.record("ignored", actor=event.by, event_id=event.event_id, kind=event.kind, reason=reason, **detail)

    def _lacks(self, name: str, body: Mapping[str, Any]) -> str:
        """A field that a wait counts on, and this has not; empty: none."""
        return lacking(self._workflow.examples.get(name, ()), body)

    def _listens(self, step: Wait) -> bool:
        """Whether this round still takes an event."""
        path = self._state.step
        return round_of(path) <= step.rounds_max or step_of(path) not in self._workflow.circles

    def _take_kept(self, step: Wait) -> Mapping[str, Any] | None:
        known, name = self._told(), step_of(self._state.step)
        fitting = (one for one in known["kept"] if one["kind"] == step.event and not self._lacks(name, one["body"]))
        found = next(fitting, None)
        if found is not None:
            self._remember_told([one for one in known["kept"] if one is not found], known["seen"])
        return found

    def _told(self) -> dict[str, list[Any]]:
        return json.loads(self._state.told) if self._state.told else {"kept": [], "seen": []}

    def _remember_told(self, kept: list[Any], seen: list[Any]) -> None:
        self._change(told=ids.canonical({"kept": kept, "seen": seen[-SEEN_MAX:]}))

    # Circles

    def visit(self, name: str) -> str:
        """The path of this visit: the step's name, and from the second time on with its number.

        A case that must not decide alone may be sent back by whoever is asked; and one that comes from another version
        has walked the circles of that.
        """
        visits = json.loads(self._state.visits) if self._state.visits else {}
        if name not in self._workflow.circles and name not in visits and not self._state.autonomy:
            return name
        visits[name] = visits.get(name, 0) + 1
        self._change(visits=ids.canonical(visits))
        return name if visits[name] == 1 else f"{name}#{visits[name]}"


def round_of(path: str) -> int:
    """Which visit of its step a path is, 1-based."""
    number = path.partition("#")[2]
    return int(number) if number else 1


def lacking(examples: Sequence[Any], said: Any, path: str = "") -> str:
    """The path of a field that every example has, and this has not, or of another kind; empty: none.

    What steps read of an answer was tried with these examples when the workflow was checked, so that one which has what
    they share can be read.
    """
    kinds = {_kind(one) for one in examples}
    if len(kinds) == 1 and _kind(said) not in kinds:
        return path
    if kinds != {dict}:
        return ""
    for name in sorted(set.intersection(*map(set, examples))):
        at = f"{path}.{name}" if path else name
        if name not in said:
            return at
        if found := lacking([one[name] for one in examples], said[name], at):
            return found
    return ""


def as_tried(examples: Sequence[Any], said: Any) -> Any:
    """The same, with a whole number where every example has a broken one made such a one: JSON writes 12.0 as 12, and
    an expression that was tried with the one cannot compute with the other.
    """
    if type(said) is int and abs(said) <= EXACT_MAX and examples and all(type(one) is float for one in examples):
        return float(said)
    if isinstance(said, dict):
        inner = [one for one in examples if isinstance(one, dict)]
        return {name: as_tried([one[name] for one in inner if name in one], each) for name, each in said.items()}
    if isinstance(said, list):
        items = [each for one in examples if isinstance(one, list) for each in one]
        return [as_tried(items, each) for each in said]
    return said


def _kind(value: Any) -> type:
    """Whole and other numbers are one kind."""
    return float if type(value) is int else type(value)


def _body(event: CaseTold) -> dict[str, Any]:
    """Raises RecordError."""
    try:
        return answers.plain(event.body)
    except ValueError as error:
        raise RecordError("what a case is told is a JSON object", Reason.CONTRACT_BROKEN) from error
