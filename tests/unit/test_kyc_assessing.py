"""kyc.review: documents are compared while the applicant is screened; others, and what documents add, afterwards."""

from __future__ import annotations

import json
from typing import Any

import yaml

from aios.infra.demo import through
from aios.processors.language import workflow_files
from aios.schemas.models import ConnectorRequested, ReviewRequested
from aios.streams import inputs
from tests.fakes.flow import Flow

SOUND = through.workflow()
RECORDED = {
    one["name"]: one
    for one in yaml.safe_load((workflow_files.FOLDER / "kyc.review.cases.yaml").read_text(encoding="utf-8"))["cases"]
}
BESIDE = RECORDED["another name on the passport is near to the list: one person rejects"]
STATED = {"verdict": "clear", "score": 0, "hits": [], "list": "ofac_sdn", "version": "1"}
NEAR = STATED | {
    "verdict": "match",
    "score": 97,
    "hits": [
        {
            "entry": "42",
            "name": "BELL, Ann",
            "matched": "BELL, Ann",
            "kind": "individual",
            "programme": "SDGT",
            "score": 97,
            "verdict": "match",
            "born": [],
            "countries": [],
            "reasons": ["Bell agrees"],
        }
    ],
}


def read(**changed: str) -> Flow:
    """An application whose documents are read; its passport names somebody beside the applicant."""
    taken = inputs.shipped(SOUND.workflow.input)
    fields = taken.of_case(taken.complete({**BESIDE["input"], **changed}), 0)
    flow = Flow(workflow=SOUND.workflow, input=fields)
    flow.admit()
    for number in (0, 1):
        flow.answer(f"read_all/{number}", **BESIDE["given"][f"read_all/{number}"])
    return flow


def asked(flow: Flow, step: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(flow.calls(step).request)
    return said


def test_the_applicant_is_screened_while_the_documents_are_compared() -> None:
    """Both are asked in one turn: usual applications ask three times in a row, not four."""
    flow = read()
    last = [one.step for one in flow.of(ConnectorRequested)[-2:]]
    assert last == ["assess/compare", "assess/stated"]
    assert asked(flow, "assess/stated")["name"] == "Ann Marie Bell"


def test_only_who_is_not_screened_yet_is_asked_for_and_all_are_weighed_in_the_order_of_the_people() -> None:
    """The applicant's screening stands first, where his name does."""
    flow = read()
    compared = BESIDE["given"]["assess/compare"]
    flow.answer("assess/compare", **compared)
    flow.answer("assess/stated", **STATED)
    assert [one.step for one in flow.of(ConnectorRequested) if one.step.startswith("screen/")] == ["screen/0"]
    assert asked(flow, "screen/0")["name"] == compared["subjects"][1]["name"]
    flow.answer("screen/0", **NEAR)
    assert [one["verdict"] for one in asked(flow, "weigh")["screenings"]] == ["clear", "match"]
    assert asked(flow, "weigh")["comparison"]["subjects"] == compared["subjects"]


def test_where_the_documents_tell_more_of_the_applicant_he_is_screened_with_it() -> None:
    """By his documents' birth date, which he did not state; what was asked without it is not weighed."""
    flow = read(birth_date="")
    compared = BESIDE["given"]["assess/compare"]
    flow.answer("assess/compare", **compared)
    flow.answer("assess/stated", **NEAR)
    assert [asked(flow, f"screen/{number}")["born"] for number in (0, 1)] == ["1980-05-03", ""]
    for number in (0, 1):
        flow.answer(f"screen/{number}", **STATED)
    assert [one["verdict"] for one in asked(flow, "weigh")["screenings"]] == ["clear", "clear"]


def test_where_nothing_can_be_compared_a_person_sees_whom_the_applicant_is_near_to() -> None:
    """What was asked beside it is not lost."""
    flow = read()
    flow.answer("assess/compare", "failed")
    assert flow.of(ReviewRequested) == []
    flow.answer("assess/stated", **NEAR)
    (task,) = flow.of(ReviewRequested)
    assert (task.reasons, task.people) == (("not_assessed",), 2)
    (hit,) = json.loads(task.evidence)["hits"]
    assert (hit["screened"], hit["entry"], hit["score"]) == ("Ann Marie Bell", "42", 97.0)
