"""One application through kyc.review without Kafka: plan's own state machine, the connectors' own answers.

Enters: an application, open connectors. Leaves: what became of it: decided, or before people, with all that systems
were asked and answered. Guaranteed: the workflow's file, plan and the connectors are those that run in the system; only
the topics between them are left out. For evaluation, and for recording cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.infra.demo.applicants import Application
from aios.processors.cases import case
from aios.processors.cases.turn import Cause
from aios.processors.connectors import registry
from aios.processors.connectors.connector import Ask, Connector
from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Sound, Workflows
from aios.schemas import ids
from aios.schemas.models import (
    CaseAdmitted,
    CaseDecided,
    CaseRemembered,
    ConnectorCompleted,
    ConnectorRequested,
    Event,
    ReviewRequested,
)
from aios.streams import inputs, installed
from aios.streams.config import Settings

TENANT = "evaluation"
RECEIVED_MS = 1_795_132_800_000  # 2026-11-20T00:00:00Z, the day of every application
STEP_MS = 100
CALL_S_MAX = 600.0
MOVES_MAX = 200


@dataclass(slots=True)
class Came:
    """outcome: of the decision, or `person`. answers: by step path. people: how many must agree, 0: nobody."""

    outcome: str = ""
    reasons: tuple[str, ...] = ()
    answers: dict[str, Any] = field(default_factory=dict)
    people: int = 0


def connectors(settings: Settings) -> dict[str, Connector]:
    """Not open yet; the sanctions list is the shipped one, whatever is published."""
    found = {}
    for name in ("assessment", "documents", "sanctions"):
        system = installed.systems()[name]
        changed = {**settings.connectors.options, "sanctions": {"follow": False}}
        own = settings.model_copy(update={"connectors": settings.connectors.model_copy(update={"options": changed})})
        found[name] = registry.connector(system, own)
    return found


def workflow() -> Sound:
    """kyc.review as shipped."""
    found, problems = workflow_files.read_file(workflow_files.FOLDER / "kyc.review.yaml")
    if found is None:
        raise AssertionError("; ".join(problems))
    return found


async def through(sound: Sound, application: Application, asked: Mapping[str, Connector]) -> Came:
    """Until it is decided or people are asked."""
    workflows = Workflows([sound.workflow])
    came = Came()
    state: CaseRemembered | None = None
    ahead: list[Event] = [_admitted(sound, application)]
    for offset in range(MOVES_MAX):
        if not ahead:
            break
        now = RECEIVED_MS + (offset + 1) * STEP_MS
        moved = case.plan(state, ahead.pop(0), Cause("", 0, offset, now), workflows)
        state = moved.state
        for _, told in moved.events:
            match told:
                case CaseDecided():
                    came.outcome, came.reasons = told.outcome, tuple(told.reasons)
                case ReviewRequested():
                    came.outcome, came.reasons, came.people = "person", tuple(told.reasons), told.people
                case ConnectorRequested():
                    ahead.append(await _answered(told, asked[told.system], came, now))
        if came.outcome:
            return came
    raise AssertionError(f"{application.key} came to no end")


def _admitted(sound: Sound, application: Application) -> CaseAdmitted:
    taken = inputs.shipped(sound.workflow.input)
    fields = taken.complete(application.plain())
    return CaseAdmitted(
        case_id=ids.case_id(TENANT, sound.workflow.workflow, application.key),
        tenant=TENANT,
        workflow=sound.workflow.workflow,
        event_id=application.key,
        idempotency_key=application.key,
        body_hash=taken.body_hash(fields),
        lane="bulk",
        input_contract=taken.contract,
        input=ids.canonical(taken.of_case(fields, RECEIVED_MS)),
        received_at=RECEIVED_MS,
        admitted_at=RECEIVED_MS,
        source_topic=taken.contract,
        source_partition=0,
        source_offset=0,
    )


async def _answered(told: ConnectorRequested, system: Connector, came: Came, now: int) -> ConnectorCompleted:
    operation = registry.operation(told.system, told.operation)
    request = operation.request.model_validate(json.loads(told.request))
    ask = Ask(
        request_id=told.request_id,
        idempotency_key=told.idempotency_key,
        tenant=told.tenant,
        case_id=told.case_id,
        deadline_s=CALL_S_MAX,
    )
    answer = (await system.call(told.operation, request, ask)).model_dump(mode="json")
    came.answers[told.step] = answer
    return ConnectorCompleted(
        request_id=told.request_id,
        case_id=told.case_id,
        tenant=told.tenant,
        workflow=told.workflow,
        step=told.step,
        attempt=told.attempt,
        system=told.system,
        operation=told.operation,
        status="ok",
        reason="",
        output=ids.canonical(answer),
        output_contract=operation.response_contract,
        tries=1,
        reconciled=False,
        waited_ms=0,
        call_ms=0,
        completed_at=now,
    )
