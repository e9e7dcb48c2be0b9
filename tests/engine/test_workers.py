"""Real models behind real pools: both workers as the supervisor starts them, on a real broker and registry."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from aios.inference_workers.tasks import CLASSIFIER, WRITER
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import topics, topology
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Delivery, ensure_topics, read_all
from aios.streams.record import Outgoing
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.wall_clock import wall_ms

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-inference" / "bin" / "python"
READY_S_MAX = 120.0  # two engines on two cores that others use too; 10 s each alone
ANSWER_S_MAX = 60.0
LEAVE_S_MAX = 40.0
LETTER = (
    "My mortgage company raised the escrow payment by 400 dollars a month without telling me why. I have asked them "
    "three times for the analysis, and each time somebody else promises to call me back. Please correct the payment."
)
pytestmark = [
    pytest.mark.engine,
    pytest.mark.broker,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-inference: run `make setup`"),
]


@dataclass
class Workers:
    """The processes, and the roads to and from them. more: of their environment."""

    kafka: KafkaSettings
    registry_url: str
    codec: Codec
    home: Path
    more: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, process: str, failpoints: str = "") -> int:
        """As the supervisor does; returns where it says that it is ready."""
        ready, told = os.pipe()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
        environment |= {
            "AIOS_HOME": str(self.home),
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": self.registry_url,
            "AIOS_FAILPOINTS": failpoints,
            "PYTHONSAFEPATH": "1",
            **self.more,
        }
        with (self.home / f"{process}.log").open("ab") as log:
            self.processes[process] = subprocess.Popen(
                [PYTHON, "-m", "aios.infra.stage", process, "--ready-fd", str(told)],
                env=environment,
                cwd=ROOT,
                pass_fds=(told,),
                stderr=log,
                stdout=log,
            )
        os.close(told)
        return ready

    def wait_ready(self, process: str, ready: int) -> None:
        """Blocks on the pipe: it is closed without a word when the process dies."""
        with os.fdopen(ready, "rb") as told:
            assert told.readline() == b"ready\n", (self.home / f"{process}.log").read_text()[-3000:]

    def ask(self, requests: list[InferenceRequested]) -> None:
        """Put commands to their pools, as plan does."""

        async def put() -> None:
            delivery = Delivery(self.kafka, client_id="test")
            outs = []
            for request in requests:
                topic = topics.inference_requested(f"{request.task}.{request.lane}")
                outs.append(Outgoing(topic.name, request.case_id.encode(), self.codec.encode(topic, request)))
            await delivery.deliver_all(outs)
            delivery.close()

        asyncio.run(put())

    def answers(
        self, requests: list[InferenceRequested], within_s: float = ANSWER_S_MAX
    ) -> dict[str, list[InferenceCompleted]]:
        """All answers to these by request id, as soon as each has one."""
        wanted = {request.request_id for request in requests}
        deadline = time.monotonic() + within_s
        found: dict[str, list[InferenceCompleted]] = {}
        while found.keys() != wanted and time.monotonic() < deadline:
            found = defaultdict(list)
            for record in read_all(self.kafka, INFERENCE_COMPLETED.name):
                with suppress(SchemaMismatch):  # other tests of this broker put there what nobody can read
                    answer = self.codec.decode(record.value, InferenceCompleted)
                    if answer.request_id in wanted:
                        found[answer.request_id].append(answer)
        assert found.keys() == wanted, f"{len(wanted - found.keys())} requests have no answer"
        return found


@pytest.fixture(scope="module")
def workers(
    kafka: KafkaSettings, registry_url: str, codec: Codec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    """Both, ready; the writer dies with the third answer it has produced."""
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    made = Workers(kafka, registry_url, codec, tmp_path_factory.mktemp("workers"))
    try:
        waiting = {"classify": made.start("classify"), "generate": made.start("generate", "generate.delivered=kill@3")}
        for process, ready in waiting.items():
            made.wait_ready(process, ready)
        yield made
    finally:
        for running in made.processes.values():
            running.terminate()
        for process, running in made.processes.items():
            assert running.wait(LEAVE_S_MAX) in (0, -signal.SIGKILL), f"{process} did not leave well"


def request(task: str, text: str, **changed: Any) -> InferenceRequested:
    fields: dict[str, Any] = {
        "request_id": str(uuid4()),
        "case_id": str(uuid4()),
        "tenant": "demo",
        "workflow": "document.triage",
        "step": "step",
        "attempt": 1,
        "task": task,
        "model": CLASSIFIER if task == "classify" else WRITER,
        "prompt": "" if task == "classify" else "summary@1",
        "input": text,
        "options": json.dumps({"head": "letters"} if task == "classify" else {"tokens_max": 24}),
        "lane": "bulk",
        "deadline_at": wall_ms() + 600_000,
        "requested_at": wall_ms(),
    }
    return InferenceRequested(**fields | changed)


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
    asked = [request("generate", f"{LETTER} My loan is number {n}.") for n in range(8)]
    workers.ask(asked)
    assert workers.processes["generate"].wait(ANSWER_S_MAX) == -signal.SIGKILL
    workers.wait_ready("generate", workers.start("generate"))
    found = workers.answers(asked)
    assert {answer.status for answers in found.values() for answer in answers} == {"ok"}
    assert max(len(answers) for answers in found.values()) <= 2
