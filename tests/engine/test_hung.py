"""A real worker whose engine hangs: its process ends by itself, unsettled, and the next answers what it had in hand."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest

from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted
from aios.streams import topology
from aios.streams.config import KafkaSettings
from aios.streams.kafka import ensure_topics, read_all
from aios.streams.topics import INFERENCE_COMPLETED
from tests.broker.running import begin_at_the_end
from tests.engine.test_workers import LEAVE_S_MAX, LETTER, PYTHON, READY_S_MAX, Workers, request

PROCESS = "classify"
SETTINGS = {"AIOS_INFERENCE__LOAD_S_MAX": "600"}
SHORT = {"AIOS_INFERENCE__STEP_S_MAX": "10"}  # for who is to hang: others may be slow on a busy machine
ENDED_S_MAX = 60.0
FAILED = 1  # of infra/stage.py, and of faulthandler
pytestmark = [
    pytest.mark.engine,
    pytest.mark.broker,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-inference: run `make setup`"),
]


@pytest.fixture
def workers(
    kafka: KafkaSettings, registry_url: str, codec: Codec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    """None yet; whoever is started with SHORT takes a step of ten seconds for a hang."""
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    stage = topology.BY_NAME[f"{PROCESS}.bulk"]
    begin_at_the_end(kafka, stage.group, stage.reads[0].name)
    home = tmp_path_factory.mktemp("hung")
    made = Workers(kafka, registry_url, codec, home, SETTINGS)
    yield made
    for running in made.processes.values():
        running.kill()
        running.wait(LEAVE_S_MAX)


def make_it_hang(workers: Workers, how: str) -> None:
    """The engine of the worker that runs will not come back from its next step."""
    armed = workers.home / "run" / "failpoints" / f"{PROCESS}.0"
    armed.parent.mkdir(parents=True, exist_ok=True)
    armed.write_text(f"engine.step={how}\n", encoding="utf-8")
    os.kill(workers.processes[PROCESS].pid, signal.SIGUSR1)
    deadline = time.monotonic() + READY_S_MAX
    while armed.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, "the worker does not read what it is to do"
        time.sleep(0.05)


def test_a_worker_whose_engine_hangs_ends_and_the_next_answers(workers: Workers) -> None:
    """First the engine's thread alone stands still, then one that keeps the interpreter, so that nothing of ours runs
    any more. Both end their process within step_s_max and a moment, with its log saying why, and nothing settled.
    """
    for how, said in (("hang", "it hangs"), ("hang:all", "Timeout")):
        start(workers, SHORT)
        make_it_hang(workers, how)
        asked = [request(PROCESS, f"{LETTER} My loan is number {n}, {how}.") for n in range(6)]
        workers.ask(asked)
        assert workers.processes[PROCESS].wait(ENDED_S_MAX) == FAILED
        assert said in (workers.home / f"{PROCESS}.log").read_text()
        assert not answered(workers) & {one.request_id for one in asked}
        start(workers, {})
        found = workers.answers(asked)
        assert [[answer.status for answer in answers] for answers in found.values()] == [["ok"]] * len(asked)
        workers.processes[PROCESS].terminate()
        assert workers.processes[PROCESS].wait(LEAVE_S_MAX) == 0


def start(workers: Workers, more: dict[str, str]) -> None:
    """One, with these settings beside those of all; returns when it serves."""
    workers.more = {**SETTINGS, **more}
    workers.wait_ready(PROCESS, workers.start(PROCESS))


def answered(workers: Workers) -> set[str]:
    """By request id."""
    records = read_all(workers.kafka, INFERENCE_COMPLETED.name)
    return {workers.codec.decode(one.value, InferenceCompleted).request_id for one in records}
