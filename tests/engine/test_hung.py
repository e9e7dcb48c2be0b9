"""A real worker whose engine hangs: its process ends by itself, unsettled, and the next answers what it had in hand."""

from __future__ import annotations

import psutil
import pytest

from tests.engine.workers import LETTER, Workers, request

PROCESS = "classify"
SHORT = {"AIOS_INFERENCE__STEP_S_MAX": "10"}  # for who is to hang: others may be slow on a busy machine
ENDED_S_MAX = 60.0
FAILED = 1  # of infra/stage.py
pytestmark = pytest.mark.broker


def test_a_worker_whose_engine_hangs_ends_and_the_next_answers(workers: Workers) -> None:
    """Its engine's process runs no more: the worker ends within step_s_max and a moment, with its log saying why, and
    nothing settled; nothing of the engine is left.
    """
    workers.end(PROCESS)
    workers.start(PROCESS, **SHORT)
    (engine,) = psutil.Process(workers.processes[PROCESS].pid).children()
    engine.suspend()
    asked = [request(PROCESS, f"{LETTER} My loan is number {n}.") for n in range(6)]
    workers.ask(asked)
    assert workers.processes[PROCESS].wait(ENDED_S_MAX) == FAILED
    assert "it hangs" in workers.log(PROCESS)
    assert not engine.is_running()
    assert not workers.answered().keys() & {one.request_id for one in asked}
    workers.have(PROCESS)
    found = workers.answers(asked)
    assert [[answer.status for answer in answers] for answers in found.values()] == [["ok"]] * len(asked)
