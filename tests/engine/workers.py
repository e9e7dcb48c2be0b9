"""Workers with real models, as the supervisor starts them, and the roads to and from them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis

from aios.inference_workers.tasks import CLASSIFIER, WRITER
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import topics
from aios.streams.config import KafkaSettings
from aios.streams.kafka import Delivery, Place, read_all
from aios.streams.record import Outgoing
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.wall_clock import wall_ms

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-inference" / "bin" / "python"
PATIENT = {"AIOS_INFERENCE__LOAD_S_MAX": "900"}  # others use the cores too; 10 s alone
ARMED_S_MAX = 120.0
ANSWER_S_MAX = 60.0
LEAVE_S_MAX = 40.0
LETTER = (
    "My mortgage company raised the escrow payment by 400 dollars a month without telling me why. I have asked them "
    "three times for the analysis, and each time somebody else promises to call me back. Please correct the payment."
)


@dataclass
class Workers:
    """At most one process of each pool; its words are in home/<process>.log. What they answer is kept in Valkey."""

    kafka: KafkaSettings
    registry_url: str
    valkey_url: str
    codec: Codec
    home: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def have(self, *processes: str) -> None:
        """They serve: those that run already, or new ones."""
        for process in processes:
            if process not in self.processes or self.processes[process].poll() is not None:
                self.start(process)

    def start(self, process: str, **more: str) -> None:
        """As the supervisor does; returns when it serves, or fails with its words. more: of its environment."""
        ready, told = os.pipe()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
        environment |= {
            "AIOS_HOME": str(self.home),
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": self.registry_url,
            "AIOS_REDIS__URL": self.valkey_url,
            "PYTHONSAFEPATH": "1",
            **PATIENT,
            **more,
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
        with os.fdopen(ready, "rb") as said:  # it is closed without a word when the process dies
            assert said.readline() == b"ready\n", self.log(process)[-3000:]

    def end(self, process: str) -> None:
        """Ask it to leave, if it runs."""
        running = self.processes.pop(process, None)
        if running is not None:
            running.terminate()
            assert running.wait(LEAVE_S_MAX) == 0, f"{process} did not leave well: {self.log(process)[-3000:]}"

    def kill(self) -> None:
        for running in self.processes.values():
            running.kill()
            running.wait(LEAVE_S_MAX)

    def log(self, process: str) -> str:
        return (self.home / f"{process}.log").read_text(encoding="utf-8", errors="replace")

    def arm(self, process: str, failpoint: str) -> None:
        """The one that runs, as a drill does."""
        armed = self.home / "run" / "failpoints" / f"{process}.0"
        armed.parent.mkdir(parents=True, exist_ok=True)
        armed.write_text(f"{failpoint}\n", encoding="utf-8")
        os.kill(self.processes[process].pid, signal.SIGUSR1)
        deadline = time.monotonic() + ARMED_S_MAX
        while armed.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline, "the worker does not read what it is to do"
            time.sleep(0.05)

    def ask(self, requests: Sequence[InferenceRequested]) -> dict[str, Place]:
        """Put commands to their pools, as plan does; where each stands."""

        async def put() -> list[Place]:
            delivery = Delivery(self.kafka, client_id="test")
            outs = []
            for request in requests:
                topic = topics.inference_requested(f"{request.task}.{request.lane}")
                outs.append(Outgoing(topic.name, request.case_id.encode(), self.codec.encode(topic, request)))
            try:
                return await delivery.deliver_all(outs)
            finally:
                delivery.close()

        return {one.request_id: place for one, place in zip(requests, asyncio.run(put()), strict=True)}

    def forget(self) -> None:
        """What was answered: the models are asked again."""
        with Redis.from_url(self.valkey_url) as kept:
            kept.flushdb()

    def answered(self) -> dict[str, list[InferenceCompleted]]:
        """By request id."""
        found: dict[str, list[InferenceCompleted]] = defaultdict(list)
        for record in read_all(self.kafka, INFERENCE_COMPLETED.name):
            with suppress(SchemaMismatch):  # other tests of this broker put there what nobody can read
                answer = self.codec.decode(record.value, InferenceCompleted)
                found[answer.request_id].append(answer)
        return found

    def answers(
        self, requests: Iterable[InferenceRequested], within_s: float = ANSWER_S_MAX
    ) -> dict[str, list[InferenceCompleted]]:
        """All answers to these by request id, as soon as each has one."""
        wanted = {request.request_id for request in requests}
        deadline = time.monotonic() + within_s
        found: dict[str, list[InferenceCompleted]] = {}
        while found.keys() != wanted and time.monotonic() < deadline:
            found = {name: answers for name, answers in self.answered().items() if name in wanted}
        assert found.keys() == wanted, f"{len(wanted - found.keys())} requests have no answer"
        return found


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
