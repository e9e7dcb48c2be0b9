"""Real models behind real pools: both workers as the supervisor starts them, on a real broker and registry."""

from __future__ import annotations

import json
import signal

import pytest

from aios.streams import topology
from tests.broker.running import owed, read_again, until_in_hand
from tests.engine.workers import ANSWER_S_MAX, LETTER, Workers, request

pytestmark = pytest.mark.broker
STAGE = topology.BY_NAME["generate.bulk"]


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


def test_the_same_letter_again_costs_nothing_for_its_tenant_alone(workers: Workers) -> None:
    """Word for word what was said before, for no token, also by a process that began since; another tenant pays."""
    letter = f"{LETTER} I wrote the same last week."
    first = [request("classify", letter), request("generate", letter)]
    workers.ask(first)
    before = workers.answers(first)
    workers.end("classify")
    workers.have("classify")
    again = [request(one.task, letter) for one in first]
    others = [request(one.task, letter, tenant="other") for one in first]
    workers.ask([*again, *others])
    found = workers.answers([*again, *others])
    for asked, same, other in zip(first, again, others, strict=True):
        (paid,), (known,), (own,) = before[asked.request_id], found[same.request_id], found[other.request_id]
        assert [one.cached for one in (paid, known, own)] == [False, True, False]
        assert (known.prompt_tokens, known.output_tokens, known.engine_us, known.cost_micro) == (0, 0, 0, 0)
        assert min(paid.prompt_tokens, own.prompt_tokens, paid.cost_micro, own.cost_micro) > 0
        assert (known.status, known.output, known.input_hash) == ("ok", paid.output, paid.input_hash)
        assert (known.model, known.prompt, known.engine) == (paid.model, paid.prompt, paid.engine)


def test_a_worker_told_to_stop_owes_nothing_that_it_has_answered(workers: Workers) -> None:
    """SIGTERM with letters in the engine: what it finishes in time is answered and committed, what it does not is left,
    and answered by the next.
    """
    asked = [
        request("generate", f"{LETTER} My loan is number {n}.", tenant="leaves", options=f'{{"tokens_max":{tokens}}}')
        for n, tokens in enumerate((4, 48) * 4)
    ]
    places = workers.ask(asked)
    until_in_hand(workers.home, "generate", STAGE.name, 1)
    workers.end("generate")
    said, left = workers.answered().keys() & places.keys(), read_again(workers.kafka, STAGE.group, places)
    assert owed(places, said) <= left < places.keys()
    workers.have("generate")
    found = workers.answers(asked)
    assert {answer.status for answers in found.values() for answer in answers} == {"ok"}
    assert {name for name, answers in found.items() if len(answers) > 1} <= left


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
