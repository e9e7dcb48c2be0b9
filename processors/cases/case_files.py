"""The file of recorded cases beside a workflow, read strictly: each mistake with its place and a hint.

Enters: `<name>.cases.yaml` and the workflow that it stands beside. Leaves: its cases, or ConfigError with a line
`file:line:column: what is wrong` for each mistake. Guaranteed: every input is one that the workflow takes; every answer
is of a step that asks somebody, under the path that it asks by, and what a person or an event says has its fields.

    cases:
      - name: a clear application
        input: {applicant_name: Ann Bell}        # business fields; those left out have the contract's defaults
        given:
          read_all/0: {text: …}                  # connect: the operation's output
          classify: {label: a, confidence: 0.9, out_of_scope: 0.0}   # infer: or text, object, choice, vector
          screen: {failed: not_covered}          # either of them says no, or nothing of use
          weigh: [{expired: away}, {score: 1}]   # not answered in time, and answered when it is asked again
          ask: [{label: a, reviewer: ada}, …]    # review; lists are taken in order: people, attempts
          booked: {told: {action: cancel}}       # wait: an event of its kind
        expect: {outcome: approved, reasons: [clear]}   # what is named is compared; or {waits_in: booked}
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from aios.processors.cases.turn import step_of
from aios.processors.language.part import Part
from aios.processors.language.workflow import Emit, Map, Parallel, Review, Rule, Wait, Workflow
from aios.processors.language.workflow_check import Place
from aios.processors.language.workflow_files import CASES, Sound
from aios.streams import mistakes, yaml_text
from aios.streams.errors import ConfigError
from aios.streams.inputs import Input
from aios.streams.part import close_to
from aios.streams.pool_files import Lane

CASES_MAX = 500
PLAIN = frozenset({"input", "told", "object", "output"})  # keys of values that are JSON, where no date is one
RECEIVED = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


class Expected(Part):
    """What must come of a case; what is not named is not compared.

    suggestion: what the person who decided was shown. waits_in: the step where it stands, open.
    """

    outcome: str | None = None
    label: str | None = None
    channel: str | None = None
    summary: str | None = None
    decided_by: str | None = None
    suggestion: str | None = None
    reasons: tuple[str, ...] | None = None
    output: dict[str, Any] | None = None
    waits_in: str | None = None


class Recorded(Part):
    """One case of the file; see the module."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    input: dict[str, Any]
    received_at: datetime.datetime = RECEIVED
    lane: Lane = Lane.BULK
    autonomy: Literal["shadow", "suggest", "auto"] = "auto"
    given: Mapping[str, Any] = {}
    expect: Expected


class Verdict(Part):
    """What a person says."""

    label: Annotated[str, Field(min_length=1)]
    reviewer: Annotated[str, Field(min_length=1)] = "somebody"
    comment: str = ""


class Told(Part):
    """What a wait is told, and by whom."""

    told: dict[str, Any]
    by: str = "producer"


class _File(Part):
    cases: Annotated[tuple[Recorded, ...], Field(min_length=1, max_length=CASES_MAX)]


def file_of(workflow_file: Path) -> Path:
    """`kyc.review.cases.yaml` beside `kyc.review.yaml`, and beside `kyc.review@1.yaml` `kyc.review@1.cases.yaml`."""
    return workflow_file.with_name(workflow_file.stem + CASES)


def read(path: Path, sound: Sound) -> tuple[Recorded, ...]:
    """Those of a workflow. Raises ConfigError."""
    try:
        root, said = yaml_text.read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there are no recorded cases; a workflow is deployed with some") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:1:1: not UTF-8 text") from None
    except yaml_text.Unreadable as error:
        raise ConfigError("\n".join(f"{path}:{each}" for each in error.problems)) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}:1:1: recorded cases are a list under the key `cases`")
    if otherwise := list(yaml_text.misread(root, PLAIN)):
        raise ConfigError("\n".join(f"{path}:{each}" for each in otherwise))
    try:
        found = _File.model_validate(said).cases
    except ValidationError as error:
        raise ConfigError("\n".join(mistakes.lines(str(path), root, error))) from None
    wrong = [
        mistakes.line(str(path), root, ("cases", number, *place), says)
        for number, one in enumerate(found)
        for place, says in (*_input(one, sound.input), *unasked(one, sound.workflow), *_expected(one, sound.workflow))
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return found


def _input(recorded: Recorded, taken: Input) -> Iterator[tuple[Place, str]]:
    known = sorted(one["name"] for one in taken.business)
    unknown = [key for key in recorded.input if key not in known]
    for key in unknown:
        yield ("input", key), f"{taken.contract} has no field {key}{close_to(key, known)}"
    if not unknown and (wrong := taken.wrong(recorded.input)):
        yield ("input",), wrong


def unasked(recorded: Recorded, workflow: Workflow) -> Iterator[tuple[Place, str]]:
    """Answers of whom nobody asks, and what is no answer, with their places in the case."""
    for path, said in recorded.given.items():
        place: Place = ("given", path)
        if says := _nobody(path, workflow):
            yield place, says
        elif not all(isinstance(each, Mapping) for each in (said if isinstance(said, list) else [said])):
            yield place, "an answer is a mapping, or a list of them"
        elif (part := _PARTS.get(type(workflow.steps[step_of(path)].kind))) is not None:
            for inside, each in [((n,), one) for n, one in enumerate(said)] if isinstance(said, list) else [((), said)]:
                yield from ((place + inside + where, says) for where, says in _no_part(part, each))


_PARTS: Mapping[type, type[Part]] = {Review: Verdict, Wait: Told}


def _no_part(part: type[Part], said: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    try:
        part.model_validate(said)
    except ValidationError as error:
        yield from ((where, says) for where, says, _ in mistakes.told(error))


def _nobody(path: str, workflow: Workflow) -> str:
    """Why nobody is asked by this path; empty: somebody is."""
    name, branch = step_of(path), path.partition("/")[2]
    if name not in workflow.steps:
        return f"there is no step {name}{close_to(name, list(workflow.steps))}"
    match workflow.steps[name].kind:
        case Rule() | Emit():
            return f"step {name} asks nobody"
        case Wait(event=None):
            return f"step {name} waits for its time alone, and is told nothing"
        case Parallel(of=branches):
            if branch not in branches:
                return f"step {name} asks by branch{close_to(path, [f'{name}/{each}' for each in branches])}"
        case Map():
            if not branch.isdigit():
                return f"step {name} asks for each item: {name}/0, {name}/1, …"
        case _:
            if branch:
                return f"step {name} has no branches: write {name}"
    return ""


def _expected(recorded: Recorded, workflow: Workflow) -> Iterator[tuple[Place, str]]:
    if recorded.expect == Expected():
        yield ("expect",), "it names nothing that must come, so that the case could not come out in another way"
    name = recorded.expect.waits_in
    if name is not None and step_of(name) not in workflow.steps:
        yield ("expect", "waits_in"), f"there is no step {name}{close_to(name, list(workflow.steps))}"
