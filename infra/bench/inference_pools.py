"""Pools under load for `aios bench inference`: a broker of its own, workers as the supervisor starts them, and flows.

Enters: which workers, and flows of requests. Leaves: for each flow how long it took and each request's milliseconds,
both by the broker's timestamps, from a request to its answer. Guaranteed: an answer that is not `ok` fails the
benchmark; nothing is measured before every worker has answered a first request; all processes end with the Stand.
Broker, workers and this process share the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from aios.inference_workers.engines.engine import ENVIRONMENT
from aios.infra.bench.inference_requests import requests
from aios.infra.commands.model import WORKERS_PYTHON
from aios.infra.local import child
from aios.infra.local.broker import Broker
from aios.infra.local.registry import Registry
from aios.infra.local.valkey import Valkey
from aios.infra.output import FAILED, fail
from aios.infra.tail import Tail
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.schemas.registry import RegistrySource, register_all
from aios.streams import config, slots, topics, topology, tracing
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.kafka import ensure_topics
from aios.streams.record import Record
from aios.streams.topics import INFERENCE_COMPLETED

ANSWER_S_MAX = 300.0  # of one flow
START_TRIES_MAX = 4  # of the registry
READY_S_MORE = 60.0  # of a worker beyond inference.load_s_max: its imports, its groups
ALONE_S_MAX = 900.0  # of one order to a model by itself
LOOK_S = 0.005
LOG_SHOWN = 1500
LANES = ("interactive", "bulk")


@dataclass(slots=True, kw_only=True)
class Flow:
    """Requests to one pool. at_once: outstanding at most; per_s: as they are due, however many are outstanding.

    count: of all; None: until the other flows have ended.
    """

    process: str
    lane: str = "bulk"
    first: int
    count: int | None = None
    at_once: int | None = None
    per_s: float | None = None
    began: float = 0.0
    sent: int = 0
    asked_ms: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Record] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)  # answered after the flows had ended

    @property
    def outstanding(self) -> int:
        return self.sent - len(self.answers) - len(self.late)

    @property
    def ended(self) -> bool:
        return self.count is not None and len(self.answers) >= self.count

    def due(self, now: float) -> int:
        """How many to ask now."""
        left = 10**9 if self.count is None else self.count - self.sent
        if self.per_s is not None:
            return min(left, int((now - self.began) * self.per_s) + 1 - self.sent)
        room = left if self.at_once is None else self.at_once - self.outstanding
        return min(left, room)


@dataclass(frozen=True, slots=True)
class Flowed:
    """took_ms: from a request's broker timestamp to its answer's. seconds: first request to last answer."""

    seconds: float
    took_ms: Sequence[float]
    completed: Sequence[InferenceCompleted]

    @property
    def per_s(self) -> float:
        return len(self.took_ms) / max(self.seconds, 1e-3)


class Stand:
    """Broker, registry, Valkey and workers. Needs close()."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self._home = home
        self._workers: list[subprocess.Popen[bytes]] = []
        self._next = 10**6  # numbers of first requests
        self.broker = Broker(home / "kafka")
        self.kafka = KafkaSettings(bootstrap_servers=self.broker.address)
        self._valkey = Valkey(home / "valkey")
        self._ends = contextlib.ExitStack()
        with self._ends:  # a start that fails ends what has started
            self._start()
            self._ends = self._ends.pop_all()

    def close(self) -> None:
        for worker in self._workers:
            child.stop(worker)
        self._ends.close()

    def _start(self) -> None:
        self.broker.start()
        self._ends.callback(self.broker.stop)
        declared = topology.all_topics().values()
        asyncio.run(ensure_topics(self.kafka, declared))
        self.registry = self._registry()
        self._ends.callback(self.registry.stop)
        register_all(self.registry.url, declared)
        self._ends.callback(self._valkey.stop)
        self._valkey.start()
        source = RegistrySource(self.registry.url)
        self._ends.callback(source.close)
        self._codec = Codec(source)
        self._producer = Producer(
            {"bootstrap.servers": self.broker.address, "partitioner": "murmur2_random", "linger.ms": 1, "log_level": 0}
        )

    def _registry(self) -> Registry:
        """Running. A broker that has only just made all its topics may not answer it at first. Raises Unavailable."""
        for tries in range(START_TRIES_MAX):
            registry = Registry(self.kafka, self.log("registry"))
            try:
                registry.start()
            except Unavailable:
                registry.stop()
                if tries + 1 == START_TRIES_MAX:
                    raise
            else:
                return registry
        raise Unavailable("no registry was started")

    @property
    def environment(self) -> dict[str, str]:
        """Of workers, and of models by themselves."""
        return {**ENVIRONMENT, **os.environ} | {
            "AIOS_HOME": str(self._home),
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": self.registry.url,
            "AIOS_REDIS__URL": self._valkey.url,
            "AIOS_TRACING__SAMPLE_RATIO": "0.01",
            "PYTHONSAFEPATH": "1",
        }

    @property
    def addresses(self) -> dict[str, str]:
        return {"broker": self.broker.address, "registry": self.registry.url}

    def log(self, name: str) -> Path:
        return self._home / f"{name}.log"

    @contextlib.contextmanager
    def worker(self, process: str, lanes: Sequence[str] = LANES, core: int | None = None) -> Iterator[None]:
        """One worker of a process, ready; core: that it is pinned to."""
        log = self._home / f"{process}.{len(self._workers)}.log"
        log.unlink(missing_ok=True)  # of one before, which was ready
        pinned = () if core is None else ("taskset", "-c", str(core))
        listed = ",".join(f'"{lane}"' for lane in lanes)
        command = [*pinned, str(WORKERS_PYTHON), "-m", "aios.infra.stage", process, "--slot", str(len(self._workers))]
        running = child.start(command, log, self.environment | {"AIOS_INFERENCE__LANES": f"[{listed}]"})
        self._workers.append(running)
        try:
            for lane in lanes:
                self._until_it_answers(process, lane, running, log)
            yield
        except TimeoutError as error:
            fail(f"{error}; the end of {log}:\n{_end(log)}", FAILED)
        finally:
            child.stop(running)
            self._workers.remove(running)

    def run(self, flows: Sequence[Flow]) -> list[Flowed]:
        """All of them together until each that has a count is answered; what is outstanding then is waited for, and
        counts for nothing. Raises TimeoutError.
        """
        tail = Tail(self.kafka, [INFERENCE_COMPLETED.name])
        asking = [requests(flow.process, flow.first, flow.lane) for flow in flows]
        of_case: dict[str, Flow] = {}
        began = time.monotonic()
        try:
            for flow in flows:
                flow.began = began
            while not all(flow.ended for flow in flows if flow.count is not None):
                for flow, source in zip(flows, asking, strict=True):
                    for request in islice(source, max(0, flow.due(time.monotonic()))):
                        of_case[request.case_id] = flow
                        self._ask(request, flow)
                for case, record in self._answered(tail, began):
                    if case in of_case:
                        of_case[case].answers.setdefault(case, record)
            while any(flow.outstanding for flow in flows):
                for case, _ in self._answered(tail, began):
                    if case in of_case:
                        of_case[case].late.add(case)
        finally:
            tail.close()
        return [self._flowed(flow) for flow in flows]

    def _answered(self, tail: Tail, began: float) -> Iterator[tuple[str, Record]]:
        """Answers that have come, by case. Raises TimeoutError."""
        if time.monotonic() - began > ANSWER_S_MAX:
            raise TimeoutError(f"not everything was answered within {ANSWER_S_MAX:.0f} s")
        self._producer.poll(0)
        for record in tail.poll(LOOK_S):
            yield slots.case_of(record.headers), record

    def topic_of_requests(self, process: str, first: int, count: int) -> tuple[str, str]:
        """A topic with so many requests in it, and one for answers: what a loop of somebody else reads and writes."""
        kind = topics.inference_requested(f"{process}.bulk")
        name = f"bench-{process}-{first}"
        admin = AdminClient({"bootstrap.servers": self.broker.address})
        made = admin.create_topics([NewTopic(f"{name}-{part}", 1, 1) for part in ("in", "out")])
        for future in made.values():
            future.result(ANSWER_S_MAX)
        for request in islice(requests(process, first), count):
            self._producer.produce(f"{name}-in", self._codec.encode(kind, request), request.case_id.encode())
        self._producer.flush()
        return f"{name}-in", f"{name}-out"

    def numbers(self, count: int) -> int:
        """The first of so many numbers that no request has had."""
        self._next += count
        return self._next - count

    def _until_it_answers(self, process: str, lane: str, running: subprocess.Popen[bytes], log: Path) -> None:
        flow = Flow(process=process, lane=lane, first=self.numbers(1), count=1)
        ready_s_max = config.load().inference.load_s_max + READY_S_MORE
        deadline = time.monotonic() + ready_s_max
        while True:
            if running.poll() is not None:
                fail(f"the worker of {process} ended; the end of {log}:\n{_end(log)}", FAILED)
            if log.exists() and '"ready"' in log.read_text(encoding="utf-8", errors="replace"):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"the worker of {process} was not ready within {ready_s_max:.0f} s")
            time.sleep(0.2)
        self.run([flow])

    def _ask(self, request: InferenceRequested, flow: Flow) -> None:
        topic = topics.inference_requested(f"{flow.process}.{flow.lane}")
        flow.sent += 1

        def written(error: Any, message: Message) -> None:
            if error is not None:
                raise TimeoutError(f"the broker did not take a request: {error}")
            flow.asked_ms[request.case_id] = message.timestamp()[1]

        self._producer.produce(
            topic.name,
            self._codec.encode(topic, request),
            slots.key_of(request.tenant, request.case_id),
            headers=_headers(request),
            on_delivery=written,
        )

    def _flowed(self, flow: Flow) -> Flowed:
        """Raises Exit when an answer is none."""
        completed = [self._codec.decode(each.value, InferenceCompleted) for each in flow.answers.values()]
        for answer in completed:
            if answer.status != "ok":
                fail(f"{answer.request_id} was answered {answer.status}: {answer.reason}", FAILED)
        answered_ms = {case: each.timestamp_ms for case, each in flow.answers.items()}
        took_ms = [answered_ms[case] - flow.asked_ms[case] for case in answered_ms]
        seconds = (max(answered_ms.values()) - min(flow.asked_ms.values())) / 1000
        return Flowed(seconds, took_ms, completed)


def _headers(request: InferenceRequested) -> Any:
    return tracing.envelope(
        request,
        event_id=request.request_id,
        source="/aios/bench",
        subject=request.case_id,
        tenant=request.tenant,
        traceparent="",
        time_ms=request.requested_at,
    )


def _end(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-LOG_SHOWN:] if log.exists() else ""


class Alone:
    """A model by itself (inference_direct.py), loaded. Needs close()."""

    def __init__(self, process: str, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        command = [str(WORKERS_PYTHON), "-m", "aios.infra.bench.inference_direct", process]
        with log.open("ab") as words:
            self._process = subprocess.Popen(
                child.bound(command),
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                start_new_session=True,
            )
        self._answer()

    def do(self, what: str, **order: Any) -> dict[str, Any]:
        """The answer to an order, or an exit with the end of its log."""
        if self._process.stdin is None:
            raise ValueError("it was started without a pipe")
        with contextlib.suppress(BrokenPipeError):  # what ended it is in its log
            self._process.stdin.write(json.dumps({"do": what, **order}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _answer(self) -> dict[str, Any]:
        stdout, line = self._process.stdout, ""
        if stdout is not None:
            if not select.select([stdout], [], [], ALONE_S_MAX)[0]:
                fail(f"no answer within {ALONE_S_MAX:.0f} s; the end of {self._log}:\n{_end(self._log)}", FAILED)
            line = stdout.readline()
        if not line:
            fail(f"the model by itself ended; the end of {self._log}:\n{_end(self._log)}", FAILED)
        said: dict[str, Any] = json.loads(line)
        return said
