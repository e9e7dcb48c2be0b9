"""A recorded case, and what plan makes of it now."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from aios.processors.cases import case, turn
from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Workflows
from aios.schemas.models import EVENTS, CaseRemembered, Event
from tests.fakes import flow

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions that served a case then, whatever serves now. Of a name that its workflow gives a version: any."""

    known: Mapping[str, str]

    def model(self, name: str, case_id: str) -> str:
        return self.known.get(f"model/{name}", f"{name}@1")

    def prompt(self, name: str) -> str:
        return self.known[f"prompt/{name}"]


@dataclass(slots=True)
class Noting:
    """Versions of this deploy, noted as they are asked for."""

    known: dict[str, str] = field(default_factory=dict)
    _newest: turn.Newest = field(default_factory=turn.Newest)

    def model(self, name: str, case_id: str) -> str:
        return self.known.setdefault(f"model/{name}", self._newest.model(name, case_id))

    def prompt(self, name: str) -> str:
        return self.known.setdefault(f"prompt/{name}", self._newest.prompt(name))


@cache
def workflows() -> Workflows:
    """The shipped ones, and the one with every kind of step."""
    return Workflows([*workflow_files.shipped(), flow.workflow()])


def outputs(reference: str, inputs: list[dict[str, Any]], versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """By input: what plan writes, the timers it sets, and what is remembered then. reference: the case's version."""
    found = [
        {
            "events": [{"topic": topic.name, **plain(event)} for topic, event in moved.events],
            "timers": dict(moved.timers),
            "skipped": moved.skipped,
            "state": plain(moved.state) if moved.state is not None else None,
        }
        for moved in moves(reference, inputs, versions)
    ]
    return cast(list[dict[str, Any]], json.loads(json.dumps(found)))


def moves(
    reference: str, inputs: list[dict[str, Any]], versions: Mapping[str, str], parsed: turn.Parsed | None = None
) -> Iterator[turn.Moved]:
    """What each input does to the case. parsed: kept from one to the next; without, each reads the case anew."""
    name, _, version = reference.partition("@")
    then = Workflows([workflows().at(name, int(version))])  # the newest one then
    state: CaseRemembered | None = None
    for one in inputs:
        cause = turn.Cause(one["topic"], one["partition"], one["offset"], one["now_ms"], Versions(versions))
        moved = case.plan(state, event_of(one["event"]), cause, then, one["traceparent"], parsed=parsed)
        state = moved.state
        yield moved


def plain(event: Event) -> dict[str, Any]:
    """An event as JSON has it; fields with their default are left out, so that a contract may grow."""
    fields = dataclasses.fields(cast(Any, event))
    said = {one.name: getattr(event, one.name) for one in fields if getattr(event, one.name) != one.default}
    return {"contract": event.contract, "fields": said}


def event_of(said: Mapping[str, Any]) -> Event:
    twin = EVENTS[said["contract"]]
    return twin(**{name: tuple(value) if isinstance(value, list) else value for name, value in said["fields"].items()})


def recorded() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every case of every file, with a name for people."""
    for path in sorted(FOLDER.glob("*.json")):
        for number, one in enumerate(json.loads(path.read_text(encoding="utf-8"))):
            yield f"{path.stem}/{number}", one
