"""Records histories anew: `python -m tests.histories.record [workflow@version …]`; without names, all of them.

Cases go through plan as they would: everybody who is asked answers by chance, but always by the same: well, badly,
twice, late or not at all; people agree or do not; cases are told things, and called off.
"""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any

from aios.processors.cases import turn
from aios.processors.cases.turn import kind_at
from aios.processors.language import workflow_samples
from aios.processors.language.questions import Call, Question
from aios.processors.language.workflow import Wait, Workflow
from aios.processors.stateful.state import FORGET
from aios.schemas import ids
from aios.schemas.models import ConnectorRequested, Event, InferenceRequested, ReviewRequested
from tests.fakes.flow import COMMANDS, Flow, answered, judged, returned
from tests.histories import replaying

CASES = 12  # of a workflow
ACTIONS_MAX = 60


def record(workflow: Workflow) -> None:
    """Into the file of this version."""
    told = [_case(workflow, seed) for seed in range(CASES)]
    path = replaying.FOLDER / f"{workflow.reference}.json"
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{path}: {len(told)} cases, {sum(len(one['inputs']) for one in told)} inputs")


def _case(workflow: Workflow, seed: int) -> dict[str, Any]:
    draw = Random(f"{workflow.reference}/{seed}")
    noting = replaying.Noting()
    flow = Flow(workflow=workflow, input=draw.choice(_inputs(workflow)), key=f"k{seed}", versions=noting)
    flow.admit(lane=draw.choice(["bulk", "interactive"]))
    for _ in range(ACTIONS_MAX):
        if flow.state is None or flow.state.decided_at:
            break
        _act(flow, draw)
    flow.run_out()
    inputs = [
        {
            "event": replaying.plain(event),
            "topic": cause.topic,
            "partition": cause.partition,
            "offset": cause.offset,
            "now_ms": cause.now_ms,
            "traceparent": "",
        }
        for event, cause in flow.history
    ]
    return {
        "workflow": workflow.reference,
        "versions": dict(sorted(noting.known.items())),
        "inputs": inputs,
        "outputs": replaying.outputs(workflow.reference, inputs, noting.known),
    }


def _inputs(workflow: Workflow) -> list[dict[str, Any]]:
    if workflow.workflow == "every.kind":
        return [
            {"name": "Ana", "risk": risk, "documents": ["page"] * count} for risk in (10, 90) for count in (0, 2, 4)
        ]
    from aios.streams import inputs

    taken = inputs.shipped(workflow.input)
    return [taken.of_case(taken.complete(one), 1_700_000_000_000) for one in workflow.samples]


def _act(flow: Flow, draw: Random) -> None:
    waiting = [one for one in flow.written if isinstance(one, COMMANDS)][-4:]
    waits = [one for one in flow.timers if one != FORGET]
    match draw.random():
        case share if share < 0.75 and waiting:
            _answer(flow, draw.choice(waiting), draw)
        case share if share < 0.85 and waits:
            flow.fire(draw.choice(sorted(waits)))
        case share if share < 0.97:
            _tell(flow, draw)
        case _ if draw.random() < 0.3:
            flow.cancel()


def _answer(flow: Flow, command: Event, draw: Random) -> None:
    if isinstance(command, ReviewRequested):
        reviewer = draw.choice(["ana", "ben", "cem"])
        flow.feed(judged(command, draw.choice(command.choices), reviewer, f"r{len(flow.history)}"))
        return
    status = draw.choice(["ok"] * 8 + ["failed", "expired"])
    if isinstance(command, ConnectorRequested):
        said = draw.choice(_said(flow, command.step))
        reply = returned(command, status)
        output = ids.canonical(said) if status == "ok" else ""
        flow.feed(type(reply)(**{name: getattr(reply, name) for name in reply.__slots__} | {"output": output}))
    elif isinstance(command, InferenceRequested):
        said = draw.choice(_said(flow, command.step))
        contract = {"classify": "classification.v1", "embed": "embedding.v1"}.get(command.task, "generation.v1")
        if command.task == "generate" and "object" in said:
            contract = "object.v1"
        reply_ = answered(command, status)
        output = ids.canonical(said) if status == "ok" else "{}"
        fields = {name: getattr(reply_, name) for name in reply_.__slots__}
        flow.feed(type(reply_)(**fields | {"output": output, "output_contract": contract}))


def _said(flow: Flow, path: str) -> list[Any]:
    """What may be answered there."""
    step = turn.step_of(path)
    asked = kind_at(flow.workflow, path)
    branch = path.partition("/")[2]
    own = [*flow.workflow.examples.get(branch, ()), *flow.workflow.examples.get(step, ())]
    if flow.workflow.workflow == "every.kind":
        return [{"score": 5, "slot": "nine"}, {"score": 80, "slot": "ten"}] if isinstance(asked, Call) else [_LABELLED]
    if isinstance(asked, Question):
        labels = list(flow.workflow.labels.values())
        label = labels[0][0] if labels else "label"
        return [
            {**one, "label": label} if "label" in one else one for one in workflow_samples.of_question(asked, label)
        ]
    return own or (workflow_samples.of_call(asked) if isinstance(asked, Call) else [{}])


_LABELLED = {"label": "card_arrival", "confidence": 0.9, "out_of_scope": 0.1}


def _tell(flow: Flow, draw: Random) -> None:
    for name, step in flow.workflow.steps.items():
        if isinstance(step.kind, Wait) and step.kind.event is not None:
            body = draw.choice(flow.workflow.examples.get(name, ({"what": "moved"}, {"what": "cancelled"})))
            flow.tell(step.kind.event, f"t{draw.randrange(6)}", body)
            return


if __name__ == "__main__":
    for each in replaying.workflows():
        if not sys.argv[1:] or each.reference in sys.argv[1:]:
            record(each)
