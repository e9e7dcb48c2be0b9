"""Real models behind real pools: both workers as the supervisor starts them, on a real broker and registry."""

from __future__ import annotations

import json
import signal

import pytest

from tests.engine.workers import ANSWER_S_MAX, LETTER, Workers, request

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def _serving(workers: Workers) -> None:
    workers.have("classify", "generate")


def test_a_letter_is_labelled_and_summarised_by_real_models(workers: Workers) -> None:
    """Both pools answer, on the lane asked, with what they spent; whoever waits has a lane of their own."""
    asked = [request("classify", LETTER), request("generate", LETTER, lane="interactive")]
    workers.ask(asked)
    found = workers.answers(asked)
    (label,), (summary,) = (found[each.request_id] for each in asked)
    said = json.loads(label.output)
    assert (label.status, label.reason) == ("ok", "")
    assert said["label"] == "mortgage"
    assert said["confidence"] > 0.6
    assert said["out_of_scope"] < 0.5
    assert summary.status == "ok"
    assert len(json.loads(summary.output)["text"]) > 20
    assert summary.lane == "interactive"
    assert label.engine.startswith("vllm ")
    assert min(label.prompt_tokens, summary.prompt_tokens, summary.output_tokens) > 10


def test_bad_requests_among_good_ones_fail_alone(workers: Workers) -> None:
    """An unknown head costs nothing; a prompt over the model's length is the engine's own refusal."""
    good = [
        request("classify", f"My card number {n} has not arrived.", options='{"head":"messages"}') for n in range(5)
    ]
    bad = [request("classify", "x", options='{"head":"faces"}'), request("generate", "qzx" * 20_000)]
    late = request("classify", "x", deadline_at=1)
    workers.ask([*good[:2], *bad, late, *good[2:]])
    found = workers.answers([*good, *bad, late])
    assert {answer.status for each in good for answer in found[each.request_id]} == {"ok"}
    assert [found[each.request_id][0].status for each in bad] == ["failed", "failed"]
    assert "faces" in found[bad[0].request_id][0].reason
    assert "exceed" in found[bad[1].request_id][0].reason
    assert found[late.request_id][0].status == "expired"


def test_a_worker_killed_with_answers_in_hand_owes_none_after_a_restart(workers: Workers) -> None:
    """kill -9 after an answer was produced and not committed: each request has its answer; plan takes the first."""
    workers.arm("generate", "generate.delivered=kill@3")
    asked = [request("generate", f"{LETTER} My loan is number {n}.") for n in range(8)]
    workers.ask(asked)
    assert workers.processes["generate"].wait(ANSWER_S_MAX) == -signal.SIGKILL
    workers.have("generate")
    found = workers.answers(asked)
    assert {answer.status for answers in found.values() for answer in answers} == {"ok"}
    assert max(len(answers) for answers in found.values()) <= 2
