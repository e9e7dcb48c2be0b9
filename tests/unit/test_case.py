"""The state machine of a case, under interleavings, repeats, delays, lost answers and second opinions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.cases import case, turn
from aios.processors.stateful.state import FORGET
from aios.schemas import ids
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseDecided,
    CaseRemembered,
    Event,
    EventRefused,
    InferenceCompleted,
    InferenceRequested,
    ReviewDecided,
    ReviewRequested,
    TimerFired,
)
from aios.streams import model_files, prompt_files
from aios.streams.errors import ConfigError, Reason, RecordError
from tests.fakes import admissions
from tests.fakes.answers import answer_to
from tests.fakes.triage import plain

WORKFLOWS = plain()
ENCODER = f"triage-encoder@{model_files.newest('triage-encoder')}"  # nobody has activated another
PROMPT = f"summary@{prompt_files.newest('summary')}"
TRIAGE = WORKFLOWS.of_input("document.received.v1")
CASE = ids.case_id("demo", "document.triage", "k1")
START_MS = 1_700_000_000_000
COMMANDS = (InferenceRequested, ReviewRequested)


def admitted(text: str = "My card has not arrived.", channel: str = "message", **changed: Any) -> CaseAdmitted:
    body = {"text": text, "channel": channel, "subject": "", "customer_id": ""}
    made = admissions.admitted(body, at=START_MS, received_at=START_MS - 50, source_partition=2, source_offset=7)
    return replace(made, **changed)


def answer(request: InferenceRequested, **changed: Any) -> InferenceCompleted:
    label = "card" if '"letters"' in request.options else "card_arrival"
    said = (
        {"label": label, "confidence": 0.97, "out_of_scope": 0.02, "scores": {label: 0.97}}
        if request.task == "classify"
        else {"text": "A card is late.", "finish_reason": "stop"}
    )
    event = answer_to(
        request,
        output=ids.canonical(said),
        output_contract="classification.v1" if request.task == "classify" else "generation.v1",
        input_hash="0" * 64,
        prompt_tokens=9,
        queue_ms=3,
        compute_ms=4,
        completed_at=request.requested_at + 7,
    )
    return replace(event, **changed)


def classified(request: InferenceRequested, confidence: float, out_of_scope: float = 0.0) -> InferenceCompleted:
    said = json.loads(answer(request).output) | {"confidence": confidence, "out_of_scope": out_of_scope}
    return answer(request, output=ids.canonical(said))


def decision(task: ReviewRequested, **changed: Any) -> ReviewDecided:
    event = ReviewDecided(
        event_id="r1",
        task_id=task.task_id,
        case_id=task.case_id,
        tenant=task.tenant,
        label=task.choices[0],
        reviewer="ana",
        decided_at=START_MS,
    )
    return replace(event, **changed)


@dataclass
class World:
    """One case and all that was ever written about it, as the log and the broker would hold it."""

    state: CaseRemembered | None = None
    now_ms: int = START_MS
    written: list[Event] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)
    timers_ever: dict[str, int] = field(default_factory=dict)
    history: list[tuple[Event, turn.Cause]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def feed(self, event: Event) -> list[Event]:
        """Apply an event as the stage does, and check what must hold after every step. Returns what it wrote."""
        cause = turn.Cause("topic", 0, len(self.history), self.now_ms)
        self.history.append((event, cause))
        moved = case.plan(self.state, event, cause, WORKFLOWS, "")
        told = [one for _, one in moved.events]
        decided_before = self.decisions()
        self.written += told
        self.state = moved.state
        self.skipped += [moved.skipped] if moved.skipped else []
        for timer_id, due in moved.timers.items():
            self.timers.pop(timer_id, None)
            if due is not None:
                self.timers[timer_id] = self.timers_ever[timer_id] = due
        if decided_before:
            assert not [one for one in told if isinstance(one, (*COMMANDS, CaseDecided))], (
                "a command after the decision"
            )
        if self.state is not None:
            expected = {FORGET} if self.state.decided_at else {turn.timer_of(self.state)}
            assert self.timers.keys() == expected, "a case waits with exactly one timer"
        return told

    def fire(self, timer_id: str) -> list[Event]:
        """Let time pass until the timer is due and feed its firing."""
        due = self.timers.pop(timer_id, self.timers_ever[timer_id])
        self.now_ms = max(self.now_ms, due)
        return self.feed(TimerFired(timer_id=timer_id, case_id=CASE, due_at=due, fired_at=self.now_ms))

    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.written if isinstance(one, kind)]

    def decisions(self) -> list[CaseDecided]:
        return self.of(CaseDecided)

    def audit(self) -> list[AuditRecorded]:
        return [one for one in self.of(AuditRecorded) if one.case_seq]

    def transitions(self) -> list[str]:
        return [one.transition for one in self.audit()]

    def run_out(self) -> None:
        """Nobody answers any more: only timers are left, and they must end the case and then forget it."""
        for _ in range(20):
            if not self.timers:
                return
            self.fire(min(self.timers, key=lambda timer_id: self.timers[timer_id]))
        raise AssertionError("timers never end")


def test_a_confident_message_is_routed_without_a_person_and_without_a_summary() -> None:
    """classify → decide; the decision is complete in itself and the audit tells each transition once."""
    world = World()
    request = next(one for one in world.feed(admitted()) if isinstance(one, InferenceRequested))
    assert (request.task, request.model, request.options) == ("classify", ENCODER, '{"head":"messages"}')
    world.now_ms += 30
    world.feed(answer(request))
    (decided,) = world.decisions()
    assert decided == CaseDecided(
        decision_id=ids.derive("decision", CASE),
        case_id=CASE,
        tenant="demo",
        workflow="document.triage",
        workflow_version=TRIAGE.version,
        event_id="e1",
        idempotency_key="k1",
        outcome="routed",
        label="card_arrival",
        confidence=0.97,
        channel="message",
        reasons=("confident",),
        models=(ENCODER,),
        prompts=(),
        decided_by="policy",
        received_at=START_MS - 50,
        admitted_at=START_MS,
        decided_at=START_MS + 30,
        case_seq=4,
        lane="bulk",
        source_topic="document.received.v1",
        source_partition=2,
        source_offset=7,
    )
    assert world.transitions() == ["admitted", "requested", "answered", "decided"]
    assert [one.status for one in world.audit()] == ["admitted", "classifying", "classifying", "decided"]


def test_a_letter_gets_a_summary_after_routing() -> None:
    """Both models and the prompt stand in the decision; the text to summarise is cut to the workflow's bound."""
    world = World()
    (classify,) = [one for one in world.feed(admitted("x " * 50_000, "letter")) if isinstance(one, InferenceRequested)]
    (summarise,) = [one for one in world.feed(answer(classify)) if isinstance(one, InferenceRequested)]
    step = TRIAGE.steps["summarise"].infer
    assert (summarise.task, summarise.prompt, len(summarise.input)) == ("generate", PROMPT, step.input_chars_max)
    assert summarise.options == '{"tokens_max":48}'
    world.feed(answer(summarise))
    (decided,) = world.decisions()
    assert (decided.label, decided.summary) == ("card", "A card is late.")
    assert (decided.models, decided.prompts) == ((ENCODER, "summariser@1"), (PROMPT,))


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_a_failed_summary_does_not_hold_the_decision_up(status: str) -> None:
    """The letter is routed without a summary, and says so."""
    world = World()
    (classify,) = [one for one in world.feed(admitted(channel="letter")) if isinstance(one, InferenceRequested)]
    (summarise,) = [one for one in world.feed(answer(classify)) if isinstance(one, InferenceRequested)]
    world.feed(answer(summarise, status=status, reason="late", output="{}"))
    (decided,) = world.decisions()
    assert (decided.outcome, decided.summary, decided.reasons) == ("routed", "", ("confident", "no_summary"))
    assert decided.suggestion == ""
    assert decided.models == (ENCODER,)


@pytest.mark.parametrize(
    ("confidence", "out_of_scope", "reason"),
    [(0.1, 0.0, "low_confidence"), (0.99, 0.9, "out_of_scope"), (0.1, 0.9, "out_of_scope")],
)
def test_an_unsure_or_foreign_text_goes_to_a_person(confidence: float, out_of_scope: float, reason: str) -> None:
    """The task carries why, the suggestion and the choices; the person's label becomes the decision, beside it."""
    world = World()
    (request,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    (task,) = [
        one for one in world.feed(classified(request, confidence, out_of_scope)) if isinstance(one, ReviewRequested)
    ]
    assert (task.reasons, task.suggestion, task.confidence) == ((reason,), "card_arrival", confidence)
    assert {"card_arrival", "belongs_elsewhere"} <= set(task.choices)
    world.feed(decision(task, label="belongs_elsewhere"))
    (decided,) = world.decisions()
    assert (decided.label, decided.confidence, decided.decided_by) == ("belongs_elsewhere", 1.0, "reviewer:ana")
    assert decided.reasons == (reason,)
    assert decided.suggestion == "card_arrival"


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "failed", "reason": "engine"},
        {"status": "expired"},
        {"status": "surprise"},
        {"output": "{}"},
        {"output": "not json"},
        {"output": '{"label":"card_arrival","confidence":2,"out_of_scope":0}'},
        {"output": '{"label":"card_arrival","confidence":NaN,"out_of_scope":0}'},
        {"output": '{"label":"a label nobody offered","confidence":1,"out_of_scope":0}'},
        {"output_contract": "generation.v1"},
    ],
)
def test_an_answer_that_is_none_goes_to_a_person(broken: dict[str, str]) -> None:
    """Failed, expired, off contract, unknown label: reason model_failed, no suggestion, the cause on the audit."""
    world = World()
    (request,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    (task,) = [one for one in world.feed(answer(request, **broken)) if isinstance(one, ReviewRequested)]
    assert (task.reasons, task.suggestion) == (("model_failed",), "")
    assert json.loads(world.audit()[2].detail)["reason"]


def test_an_unanswered_request_is_asked_again_once_and_then_a_person_is() -> None:
    """Attempt 2 is another command; the late answer to attempt 1 is wasted; silence again asks a person."""
    world = World()
    (first,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    (second,) = [one for one in world.fire("classify/1") if isinstance(one, InferenceRequested)]
    assert (second.attempt, second.request_id != first.request_id) == (2, True)
    assert world.feed(answer(first)) == []
    assert world.skipped == ["wasted"]
    (task,) = [one for one in world.fire("classify/2") if isinstance(one, ReviewRequested)]
    assert task.reasons == ("model_failed",)
    assert world.feed(answer(second)) == []


def test_a_case_nobody_decides_expires() -> None:
    """The outcome is `expired`, by the timer; a decision that comes later is ignored, and the audit says so."""
    world = World()
    (request,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    (task,) = [one for one in world.feed(classified(request, 0.1)) if isinstance(one, ReviewRequested)]
    world.fire("ask/1")
    (decided,) = world.decisions()
    assert (decided.outcome, decided.label, decided.decided_by) == ("expired", "", "timer")
    assert decided.reasons == ("low_confidence", "no_person_in_time")
    world.feed(decision(task))
    assert world.transitions()[-2:] == ["decided", "ignored"]
    assert world.audit()[-1].status == "expired"
    assert world.audit()[-1].actor == "reviewer:ana"


@pytest.mark.parametrize(
    "wrong", [{"label": "no such label"}, {"task_id": "another task"}, {"reviewer": ""}], ids=lambda w: next(iter(w))
)
def test_only_a_valid_decision_of_a_person_counts(wrong: dict[str, str]) -> None:
    """An invalid one is ignored on the audit, and the next valid one wins; a second valid one is ignored."""
    world = World()
    (request,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    (task,) = [one for one in world.feed(classified(request, 0.1)) if isinstance(one, ReviewRequested)]
    world.feed(decision(task, **wrong))
    assert (world.transitions()[-1], world.decisions()) == ("ignored", [])
    world.feed(decision(task, label="card_linking", reviewer="ben"))
    world.feed(decision(task, label="change_pin", reviewer="cem"))
    assert [(one.label, one.decided_by) for one in world.decisions()] == [("card_linking", "reviewer:ben")]
    assert world.transitions()[-1] == "ignored"


def test_a_repeat_changes_nothing_and_a_conflict_is_refused_under_its_own_id() -> None:
    """Same key and body: the same case, silently. Another body: refused, naming the event that holds the key."""
    world = World()
    world.feed(admitted())
    before = world.state
    assert world.feed(admitted(event_id="e2")) == []
    refused, audit = world.feed(admitted(event_id="e3", body_hash="f" * 64, source_offset=9))
    assert world.state == before
    assert isinstance(refused, EventRefused)
    assert (refused.event_id, refused.duplicate_of, refused.reason) == ("e3", "e1", "conflicting_duplicate")
    assert isinstance(audit, AuditRecorded)
    assert (audit.case_seq, audit.transition) == (0, "refused")


@pytest.mark.parametrize("decided", [False, True])
def test_an_approved_edit_replaces_the_remembered_body_and_decides_nothing_again(decided: bool) -> None:
    """No conflict, no second decision, one audited transition; from then on the edited body is the known one."""
    world = World()
    (request,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    if decided:
        world.feed(answer(request))
    decisions, waiting = len(world.of(CaseDecided)), world.state and world.state.waiting_for
    edited = admitted(event_id="e4", body_hash="d" * 64, replaces_body="a" * 64)
    (audit,) = world.feed(edited)
    assert isinstance(audit, AuditRecorded)
    assert (audit.transition, json.loads(audit.detail)["body_hash"]) == ("body_replaced", "d" * 64)
    assert len(world.of(CaseDecided)) == decisions
    assert world.state is not None
    assert world.state.waiting_for == waiting
    assert world.feed(edited) == []
    assert world.feed(admitted(event_id="e5", body_hash="d" * 64)) == []
    assert isinstance(world.feed(admitted(event_id="e6"))[0], EventRefused)


def test_a_decided_case_keeps_no_content() -> None:
    """Nothing of the customer's text, answers or trace stays; a repeat and a conflict are still told apart."""
    world = World()
    (request,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    world.feed(answer(request))
    assert world.state is not None
    assert (world.state.input, world.state.answers, world.state.waiting_for) == ("", "{}", "")
    assert world.feed(admitted(event_id="e2")) == []
    assert isinstance(world.feed(admitted(event_id="e3", body_hash="f" * 64))[0], EventRefused)


def test_strangers_are_not_attributed() -> None:
    """A decision for an unknown case or by another tenant is a dead letter; a zombie's answer is just wasted."""
    world = World()
    (request,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    (task,) = [one for one in world.feed(classified(request, 0.1)) if isinstance(one, ReviewRequested)]
    cause = turn.Cause("topic", 0, 0, START_MS)
    for state, tenant in ((None, "demo"), (world.state, "other")):
        with pytest.raises(RecordError) as caught:
            case.plan(state, decision(task, tenant=tenant), cause, WORKFLOWS)
        assert caught.value.reason is Reason.UNATTRIBUTABLE
    assert case.plan(None, answer(request), cause, WORKFLOWS).skipped == "wasted"
    with pytest.raises(RecordError):
        case.plan(None, admitted(workflow="no.such"), cause, WORKFLOWS)


def test_an_open_case_of_a_version_that_is_gone_stops_the_stage() -> None:
    """The deploy is broken, not the record; a decided case of that version still recognises repeats."""
    world = World()
    (request,) = [one for one in world.feed(admitted()) if isinstance(one, InferenceRequested)]
    assert world.state is not None
    gone = replace(world.state, workflow_version=999)
    cause = turn.Cause("topic", 0, 0, START_MS)
    with pytest.raises(ConfigError, match=r"document\.triage@999"):
        case.plan(gone, answer(request), cause, WORKFLOWS)
    assert case.plan(replace(gone, waiting_for="", decided_at=1), admitted(), cause, WORKFLOWS).skipped == "repeated"


ACTIONS = st.one_of(
    st.just(("admit",)),
    st.just(("conflict",)),
    st.just(("edit",)),
    st.tuples(
        st.just("answer"),
        st.integers(0, 5),
        st.sampled_from(["ok", "low", "foreign", "failed", "expired", "broken"]),
    ),
    st.tuples(st.just("review"), st.sampled_from(["card", "card_arrival", "change_pin", "nonsense"]), st.booleans()),
    st.tuples(st.just("fire"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(1, 10**7)),
)


def act(world: World, action: tuple[Any, ...], first: CaseAdmitted) -> None:
    """Do one thing the outside may do, if the world is far enough for it."""
    match action:
        case ("admit",):
            world.feed(first)
        case ("conflict",) if world.state is not None:
            world.feed(replace(first, event_id="e9", body_hash="f" * 64))
        case ("edit",) if world.state is not None:
            world.feed(replace(first, event_id="e8", body_hash="d" * 64, replaces_body="a" * 64))
        case ("answer", number, kind) if requests := world.of(InferenceRequested):
            request = requests[number % len(requests)]
            match kind:
                case "low" if request.task == "classify":
                    world.feed(classified(request, 0.01))
                case "foreign" if request.task == "classify":
                    world.feed(classified(request, 0.99, 0.99))
                case "failed" | "expired":
                    world.feed(answer(request, status=kind, reason=kind))
                case "broken":
                    world.feed(answer(request, output="[]"))
                case _:
                    world.feed(answer(request))
        case ("review", label, right) if tasks := world.of(ReviewRequested):
            world.feed(decision(tasks[0], label=label, task_id=tasks[0].task_id if right else "other"))
        case ("fire", number) if waits := [t for t in world.timers_ever if t != FORGET]:
            world.fire(waits[number % len(waits)])  # a pending one, or one that was cancelled in flight
        case ("wait", ms):
            world.now_ms += ms


@settings(max_examples=300, deadline=None)
@given(channel=st.sampled_from(["letter", "message"]), actions=st.lists(ACTIONS, min_size=8, max_size=25))
def test_whatever_happens_a_case_ends_in_one_decision(channel: str, actions: list[tuple[Any, ...]]) -> None:
    """One decision, commands bounded and none after it, audit numbers without a gap, forgotten in the end."""
    world, first = World(), admitted(channel=channel)
    world.feed(first)
    for action in actions:
        act(world, action, first)
    world.run_out()
    assert world.state is None
    (decided,) = world.decisions()
    audit = world.audit()
    assert [one.case_seq for one in audit] == list(range(1, len(audit) + 1))
    assert len({one.audit_id for one in audit}) == len(audit)
    assert [one.transition for one in audit].count("decided") == 1
    assert audit[decided.case_seq - 1].transition == "decided"
    requests = world.of(InferenceRequested)
    assert len({one.request_id for one in requests}) == len(requests) <= 4
    assert len(world.of(ReviewRequested)) <= 1
    assert all(one.deadline_at > one.requested_at for one in requests)
    if decided.decided_by == "policy":
        assert decided.confidence >= TRIAGE.policy[channel]["confidence_min"]


@settings(max_examples=100, deadline=None)
@given(channel=st.sampled_from(["letter", "message"]), actions=st.lists(ACTIONS, min_size=8, max_size=25))
def test_the_same_history_gives_the_same_outputs(channel: str, actions: list[tuple[Any, ...]]) -> None:
    """Nothing random and no clock: a replayed history writes the same events, in the same order."""
    world, first = World(), admitted(channel=channel)
    world.feed(first)
    for action in actions:
        act(world, action, first)
    world.run_out()
    state: CaseRemembered | None = None
    written: list[Event] = []
    for event, cause in world.history:
        moved = case.plan(state, event, cause, WORKFLOWS, "")
        state = moved.state
        written += [one for _, one in moved.events]
    assert written == world.written
