"""What it costs when decided cases' events come again: plan's core, the workers' answering and the cache together."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import numpy as np
import pytest

from aios.inference_workers.answering import Answering
from aios.inference_workers.classify import Head
from aios.inference_workers.tasks import Classify
from aios.processors.plan import Plan
from aios.schemas.codec import Codec
from aios.schemas.models import (
    EVENTS,
    CaseAdmitted,
    CaseDecided,
    Event,
    InferenceCompleted,
    InferenceRequested,
    UsageSettled,
)
from aios.streams import installed, topics
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing, Record
from aios.streams.topology import PLAN
from aios.streams.wall_clock import wall_ms
from tests.fakes import admissions
from tests.fakes.engine import FakeEngine
from tests.fakes.kept import KeptInMemory
from tests.fakes.registry import FakeRegistry
from tests.fakes.triage import plain

E = TypeVar("E", bound=Event)
Taken = CaseAdmitted | InferenceRequested | InferenceCompleted
PARTITIONS, CASES = 6, 10
CODEC = Codec(FakeRegistry())
SURE = Head(("card_arrival", "loan"), np.array([[9.0] * 4, [-9.0] * 4], np.float32), np.zeros(2), 1.0, np.zeros(4), 0.0)


class System:
    """Plan and one worker's answering; what plan writes for the worker, and the worker for plan, comes at once."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.told: list[Event] = []
        self._plan = Plan(CODEC, plain(), PARTITIONS)
        self._store: dict[bytes, bytes] = {}
        task = Classify(self.engine, {"messages": SURE})
        self._answering = Answering(installed.pools()["classify.bulk"], task, self.engine, answers=KeptInMemory())

    def take(self, event: CaseAdmitted) -> None:
        """One admitted event, until its case waits for nobody."""
        asked = len(self.of(InferenceRequested))
        self._step(topics.CASE_ADMITTED, event)
        for request in self.of(InferenceRequested)[asked:]:
            record = _record(topics.inference_requested("classify.bulk"), request)
            self._step(topics.INFERENCE_COMPLETED, asyncio.run(self._answering.answer(record, request)))

    def of(self, kind: type[E]) -> list[E]:
        return [one for one in self.told if isinstance(one, kind)]

    @property
    def cost_micro(self) -> int:
        """The ledger's sum."""
        return sum(one.cost_micro for one in self.of(UsageSettled))

    def _step(self, source: topics.Topic, event: Taken) -> None:
        effects = self._plan.step(_record(source, event), self._store, wall_ms())
        for key, value in effects.changes.items():
            self._store.pop(key, None)
            if value is not None:
                self._store[key] = value
        self.told += [_told(out) for out in effects.outputs]


def _record(source: topics.Topic, event: Taken) -> Record:
    key = event.case_id.encode()
    return Record(source.name, partition_of(key, PARTITIONS), 0, wall_ms(), key, CODEC.encode(source, event), ())


def _told(out: Outgoing) -> Event:
    topic = next(one for one in PLAN.writes if one.name == out.topic)
    return CODEC.decode(out.value, EVENTS[topic.contracts[0]])


def events(name: str, *, tenant: str = "demo") -> list[CaseAdmitted]:
    """The same messages under other idempotency keys."""
    bodies = [
        {"text": f"Where is card {n}?", "channel": "message", "subject": "", "customer_id": ""} for n in range(CASES)
    ]
    return [admissions.admitted(body, key=f"{name}-{n}", tenant=tenant, at=wall_ms()) for n, body in enumerate(bodies)]


@pytest.fixture
def decided() -> System:
    """Ten cases, asked of the model and paid for."""
    system = System()
    for event in events("first"):
        system.take(event)
    assert len(system.of(CaseDecided)) == len(system.engine.asked) == CASES
    assert system.cost_micro > 0
    return system


def test_a_decided_case_s_event_that_comes_again_asks_and_costs_nothing(decided: System) -> None:
    """Under its key: plan knows the case, and writes nothing."""
    before = list(decided.told)
    for event in events("first"):
        decided.take(event)
    assert decided.told == before
    assert len(decided.engine.asked) == CASES


def test_what_was_decided_is_decided_again_for_no_token(decided: System) -> None:
    """Under new keys the cases are new, and plan asks; the worker knows every answer: the ledger's sum stands."""
    before = decided.cost_micro
    for event in events("again"):
        decided.take(event)
    cases = decided.of(CaseDecided)
    assert len(cases) == 2 * CASES
    assert {one.label for one in cases} == {"card_arrival"}
    assert len(decided.engine.asked) == CASES
    assert decided.cost_micro == before
    again = decided.of(UsageSettled)[CASES:]
    assert [(one.prompt_tokens, one.output_tokens, one.engine_us) for one in again] == [(0, 0, 0)] * CASES


def test_another_tenant_s_cases_pay_for_themselves(decided: System) -> None:
    """What one tenant paid for is nobody else's answer."""
    for event in events("first", tenant="other"):
        decided.take(event)
    assert len(decided.engine.asked) == 2 * CASES
