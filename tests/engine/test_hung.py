"""A real worker whose engine hangs: its process ends by itself, unsettled, and the next answers what it had in hand."""

from __future__ import annotations

import pytest

from tests.engine.workers import LETTER, Workers, request

PROCESS = "classify"
SHORT = {"AIOS_INFERENCE__STEP_S_MAX": "10"}  # for who is to hang: others may be slow on a busy machine
ENDED_S_MAX = 60.0
FAILED = 1  # of infra/stage.py, and of faulthandler
pytestmark = pytest.mark.broker


def test_a_worker_whose_engine_hangs_ends_and_the_next_answers(workers: Workers) -> None:
    """First the engine's thread alone stands still, then one that keeps the interpreter, so that nothing of ours runs
    any more. Both end their process within step_s_max and a moment, with its log saying why, and nothing settled.
    """
    for how, said in (("hang", "it hangs"), ("hang:all", "Timeout")):
        workers.end(PROCESS)
        workers.start(PROCESS, **SHORT)
        workers.arm(PROCESS, f"engine.step={how}")
        asked = [request(PROCESS, f"{LETTER} My loan is number {n}, {how}.") for n in range(6)]
        workers.ask(asked)
        assert workers.processes[PROCESS].wait(ENDED_S_MAX) == FAILED
        assert said in workers.log(PROCESS)
        assert not workers.answered().keys() & {one.request_id for one in asked}
        workers.have(PROCESS)
        found = workers.answers(asked)
        assert [[answer.status for answer in answers] for answers in found.values()] == [["ok"]] * len(asked)
