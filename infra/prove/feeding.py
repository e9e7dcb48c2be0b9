"""Commands to an outside system while a matrix runs: the load's cases ask none, and whoever idles proves nothing.

Enters: a running system. Leaves: one command after the other for cases that do not exist, so that plan takes their
answers for wasted ones; afterwards, which of them were not answered. Guaranteed: a command counts only when the broker
has it; each must be answered `ok`, once or more, since the system asked is a part of the process itself and its
deadline is far.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from uuid import uuid4

from confluent_kafka import KafkaError, Message, Producer

from aios.infra.prove.reading import Addresses
from aios.schemas.codec import Codec
from aios.schemas.errors import Unavailable
from aios.schemas.models import ConnectorCompleted, ConnectorRequested
from aios.schemas.registry import RegistrySource
from aios.streams.config import KafkaSettings
from aios.streams.durations import HOUR_MS
from aios.streams.kafka import read_all
from aios.streams.topics import CONNECTOR_COMPLETED, connector_requested
from aios.streams.wall_clock import wall_ms

SYSTEM, OPERATION = "assessment", "weigh"
COMPARED = {
    "subjects": [{"name": "Ann Bell", "born": "", "country": "", "found_in": "application"}],
    "findings": [],
    "name": "agrees",
    "birth_date": "agrees",
    "address": "agrees",
    "identity": True,
    "countries": [],
    "unread": 0,
}
REQUEST = json.dumps({"comparison": COMPARED, "screenings": [], "points": {}})
EVERY_S = 0.25
DEADLINE_MS = 3 * HOUR_MS  # beyond every clock that a fault moves: what is late by its own clock is answered so
FLUSH_S_MAX = 20.0
WORKFLOW = "prove.feeding"


class Feeding:
    """Works from start() to close()."""

    def __init__(self, addresses: Addresses) -> None:
        self._kafka = KafkaSettings(bootstrap_servers=addresses.kafka)
        self._source = RegistrySource(addresses.registry)
        self._codec = Codec(self._source)
        self._topic = connector_requested(SYSTEM)
        self._run = uuid4().hex[:12]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="feeding", daemon=True)
        self._taken: set[str] = set()

    @property
    def sent(self) -> int:
        """Commands that the broker has."""
        return len(self._taken)

    def start(self) -> None:
        """Raises Unavailable."""
        self._codec.warm([self._topic, CONNECTOR_COMPLETED])
        self._thread.start()

    def close(self) -> None:
        """Nothing more is sent. Questions may still be asked."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def end(self) -> None:
        """No more questions either."""
        self._source.close()

    def unanswered(self) -> dict[str, str]:
        """By command, what it was answered instead of ok; empty: nothing. Raises Unavailable."""
        answers: dict[str, str] = {}
        for record in read_all(self._kafka, CONNECTOR_COMPLETED.name):
            said = self._codec.decode(record.value, ConnectorCompleted)
            if said.request_id in self._taken and answers.get(said.request_id) != "ok":
                answers[said.request_id] = said.status
        return {one: answers.get(one, "") for one in sorted(self._taken) if answers.get(one) != "ok"}

    def _work(self) -> None:
        producer = Producer(
            {"bootstrap.servers": self._kafka.bootstrap_servers, "partitioner": "murmur2_random", "log_level": 0}
        )
        number = 0
        while not self._stop.wait(EVERY_S):
            number += 1
            self._put(producer, number)
        producer.flush(FLUSH_S_MAX)

    def _put(self, producer: Producer, number: int) -> None:
        name, now_ms = f"{self._run}-{number}", wall_ms()
        command = ConnectorRequested(
            request_id=name,
            case_id=f"feeding-{name}",
            tenant="demo",
            workflow=WORKFLOW,
            step="screen",
            attempt=1,
            system=SYSTEM,
            operation=OPERATION,
            request=REQUEST,
            effect="none",
            idempotency_key=name,
            lane="bulk",
            deadline_at=now_ms + DEADLINE_MS,
            requested_at=now_ms,
        )
        try:
            producer.produce(
                self._topic.name,
                key=command.case_id.encode(),
                value=self._codec.encode(self._topic, command),
                headers=[("aios-tenant", b"demo")],
                on_delivery=self._report(name),
            )
            producer.poll(0)
        except (BufferError, Unavailable):
            return  # it is not counted: there is another moment

    def _report(self, name: str) -> Callable[[KafkaError | None, Message], None]:
        def told(error: KafkaError | None, _message: Message) -> None:
            if error is None:
                self._taken.add(name)

        return told
