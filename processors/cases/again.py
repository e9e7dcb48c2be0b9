"""Recorded cases decided again with other answers: what another prompt or model would change. Pure.

In: what a case was given (its admitted event, the models' answers, the persons' decisions), which prompt and model are
tried, and their answers. Out: the decision as recorded, the decision as it would be, or the requests that have to be
answered before that is known. Guaranteed: the state machine is plan's own, on the workflow version that the case ran
on and with the autonomy that was drawn for it; only the answers of what is tried are other ones; what outside systems
and events said is as recorded, and only where the system would be asked the same; a case whose recorded inputs do not
lead to its recorded decision again (an expiry, a budget that was spent, a version that is gone) is told apart and never
counted as changed.

What a case would now ask a person, and nobody was asked then, ends as `asks_person`: what they would have said is not
known. Rejected: comparing answers alone (a workflow may not care about a difference, or turn on a small one).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aios.processors.cases import case
from aios.processors.cases.turn import Cause, rest_of
from aios.processors.language.autonomy import AUTO
from aios.processors.language.workflow import STEPS_MAX
from aios.processors.language.workflow_files import Workflows
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseDecided,
    CaseRemembered,
    CaseTold,
    ConnectorCompleted,
    ConnectorRequested,
    Event,
    InferenceCompleted,
    InferenceRequested,
    ReviewDecided,
    ReviewRequested,
    TimerFired,
)
from aios.streams import model_files, prompt_files
from aios.streams.errors import AiosError, ConfigError

MOVES_MAX = 4 * STEPS_MAX
PERSON = "asks_person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One case. answers, calls: by step and attempt, in the order of coming. reviews: by step and which person's it is,
    1-based. told: by the step that waited for it. decided: as the audit has it, by field. autonomy: as it was drawn.
    """

    admitted: CaseAdmitted
    version: int
    answers: Mapping[tuple[str, int], InferenceCompleted]
    reviews: Mapping[tuple[str, int], ReviewDecided]
    decided: Mapping[str, object]
    calls: Mapping[tuple[str, int], ConnectorCompleted] = field(default_factory=dict)
    told: Mapping[str, CaseTold] = field(default_factory=dict)
    autonomy: str = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What is tried: name@version of a prompt, of a model, or both; empty: as recorded."""

    prompt: str = ""
    model: str = ""

    def concerns(self, request: InferenceRequested | InferenceCompleted) -> bool:
        """Whether it is asked, or answered, in the place of this."""
        return _same(request.prompt, self.prompt) or (_same(request.model, self.model) and not self.prompt)

    def of(self, request: InferenceRequested) -> InferenceRequested:
        """The request as it would be."""
        if not self.concerns(request):
            return request
        return replace(request, prompt=self.prompt or request.prompt, model=self.model or request.model)


def _same(name: str, tried: str) -> bool:
    return bool(tried) and name.partition("@")[0] == tried.partition("@")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a case comes to. decided_by: 'policy', 'reviewer:…', or PERSON where it would wait for one."""

    outcome: str
    label: str
    decided_by: str
    reasons: tuple[str, ...]
    summary: str = ""

    @property
    def text_apart(self) -> Decision:
        return replace(self, summary="")


@dataclass(frozen=True, slots=True)
class Need:
    """An answer that is not there: the request as it has to be asked."""

    request: InferenceRequested


@dataclass(frozen=True, slots=True)
class Unrepeatable:
    """Why the records do not lead to a decision."""

    why: str


Result = Decision | Need | Unrepeatable
Given = Mapping[tuple[str, str, str], InferenceCompleted]
"""Answers of what is tried, by case id, step and pool: where one cannot answer, its fallback is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Versions:
    """Where a workflow names none: the one that answered then, else the newest of this deploy."""

    models: Mapping[str, str] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)

    def model(self, name: str, case_id: str) -> str:  # noqa: ARG002 - as plan asks
        return self.models.get(name) or model_files.reference(name)

    def prompt(self, name: str) -> str:
        return self.prompts.get(name) or f"{name}@{prompt_files.newest(name)}"


def baseline(recorded: Recorded, workflows: Workflows) -> Decision | Unrepeatable:
    """The decision, out of the records alone; it must be the recorded one."""
    found = decide(recorded, workflows, Tried(), {})
    if isinstance(found, Need):
        return Unrepeatable("an answer is not in the log any more")
    if isinstance(found, Decision):
        then = recorded.decided
        now = {"outcome": found.outcome, "label": found.label, "decided_by": found.decided_by}
        if differing := [name for name, value in now.items() if then.get(name) != value]:
            return Unrepeatable(f"its {differing[0]} came about in another way")
    return found


def decide(
    recorded: Recorded,
    workflows: Workflows,
    tried: Tried,
    given: Given,
) -> Result:
    """The decision with the answers of what is tried."""
    try:
        of_then = Workflows([workflows.at(recorded.admitted.workflow, recorded.version)], mode=recorded.autonomy)
        return _decide(recorded, of_then, tried, given)
    except ConfigError as error:
        return Unrepeatable(str(error))
    except AiosError as error:
        return Unrepeatable(f"plan refuses it: {error}")


def _decide(
    recorded: Recorded,
    workflows: Workflows,
    tried: Tried,
    given: Given,
) -> Result:
    then: dict[str, str] = {}  # what systems were asked, by step path, with the recorded answers alone
    if recorded.calls and (tried != Tried() or given):
        _run(recorded, workflows, Tried(), {}, then)
    return _run(recorded, workflows, tried, given, {}, then)


def _run(  # noqa: PLR0917 - all of it is one case's
    recorded: Recorded,
    workflows: Workflows,
    tried: Tried,
    given: Given,
    asked: dict[str, str],
    then: Mapping[str, str] | None = None,
) -> Result:
    """asked: filled with what systems are asked. then: what they were asked when the answers were given."""
    cause = Cause("", -1, -1, recorded.admitted.admitted_at, versions=_versions(recorded))
    state: CaseRemembered | None = None
    ahead: deque[Event] = deque([recorded.admitted])
    for _ in range(MOVES_MAX):
        if not ahead:
            return Unrepeatable("it waits for what is not in the log")
        moved = case.plan(state, ahead.popleft(), cause, workflows)
        state = moved.state
        for _, told in moved.events:
            following: Event | Need | Decision | Unrepeatable | None = None
            match told:
                case CaseDecided():
                    return _decision(told)
                case InferenceRequested():
                    following = _answer(recorded, tried, given, told)
                case ConnectorRequested():
                    asked[told.step] = told.request
                    following = _returned(recorded, told, then or {})
                case ReviewRequested():
                    following = _reviewed(recorded, told)
                case AuditRecorded(transition="waiting"):
                    following = recorded.told.get(told.step)
                case AuditRecorded(transition="resting"):
                    following = _rested(told)
            if isinstance(following, Need | Decision | Unrepeatable):
                return following
            if following is not None:
                ahead.append(following)
    return Unrepeatable(f"it does not end within {MOVES_MAX} moves")


def _returned(
    recorded: Recorded, request: ConnectorRequested, then: Mapping[str, str]
) -> ConnectorCompleted | Unrepeatable | None:
    """What the system said then, if it would be asked the same now."""
    found = recorded.calls.get((request.step, request.attempt))
    if found is None:
        return None
    if then.get(request.step, request.request) != request.request:
        return Unrepeatable(f"{request.system} would be asked something else in {request.step}")
    return replace(found, request_id=request.request_id)


def _rested(told: AuditRecorded) -> TimerFired:
    """Its time is over at once."""
    timer_id = rest_of(told.step, json.loads(told.detail)["attempt"])
    return TimerFired(timer_id=timer_id, case_id=told.case_id, due_at=told.at, fired_at=told.at)


def _versions(recorded: Recorded) -> _Versions:
    answers = recorded.answers.values()
    return _Versions(
        models={one.model.partition("@")[0]: one.model for one in answers},
        prompts={one.prompt.partition("@")[0]: one.prompt for one in answers if one.prompt},
    )


def _answer(
    recorded: Recorded,
    tried: Tried,
    given: Given,
    request: InferenceRequested,
) -> InferenceCompleted | Need:
    found = given.get((request.case_id, request.step, request.pool))
    if found is None and not tried.concerns(request):
        of_step = [answer for (step, _), answer in recorded.answers.items() if step == request.step]
        found = recorded.answers.get((request.step, request.attempt)) or (of_step[-1] if of_step else None)
    return Need(tried.of(request)) if found is None else replace(found, request_id=request.request_id)


def _reviewed(recorded: Recorded, task: ReviewRequested) -> ReviewDecided | Decision:
    """What the person said then; where nobody was asked, it ends here."""
    said = recorded.reviews.get((task.step, task.round))
    if said is not None and said.label in task.choices:
        return replace(said, task_id=task.task_id)
    return Decision(outcome=PERSON, label=task.suggestion, decided_by=PERSON, reasons=task.reasons)


def _decision(told: CaseDecided) -> Decision:
    return Decision(
        outcome=told.outcome,
        label=told.label,
        decided_by=told.decided_by,
        reasons=told.reasons,
        summary=told.summary,
    )


def completed(request: InferenceRequested, said: Mapping[str, object], output: str, at_ms: int) -> InferenceCompleted:
    """A rehearsed answer (inference_workers/rehearse.py) as plan reads it. output: canonical JSON."""
    return InferenceCompleted(
        request_id=request.request_id,
        case_id=request.case_id,
        tenant=request.tenant,
        workflow=request.workflow,
        step=request.step,
        attempt=request.attempt,
        task=request.task,
        status=str(said["status"]),
        reason=str(said["reason"]),
        output=output,
        output_contract=str(said["contract"]),
        model=request.model,
        prompt=request.prompt,
        engine="",
        input_hash="",
        prompt_tokens=int(str(said["prompt_tokens"])),
        output_tokens=int(str(said["output_tokens"])),
        lane=request.lane,
        queue_ms=0,
        compute_ms=int(str(said["compute_ms"])),
        completed_at=at_ms,
        pool=request.pool,
    )
