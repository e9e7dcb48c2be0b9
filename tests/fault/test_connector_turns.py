"""Plan's turnstile before a real connector on a real broker: what a backlog of one tenant means for another."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from aios.processors.connectors import registry, serving
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import Workflows
from aios.schemas.codec import Codec
from aios.schemas.models import ConnectorCompleted, ConnectorRequested
from aios.streams.config import KafkaSettings, Settings
from aios.streams.kafka import Delivery, read_all
from aios.streams.record import Outgoing
from aios.streams.system_files import System
from aios.streams.topics import CONNECTOR_COMPLETED
from aios.streams.topology import connecting
from aios.streams.wall_clock import wall_ms
from tests.broker.running import running
from tests.fakes.outside import Outside
from tests.fault.connector_worker import create, settings_of, system
from tests.unit import test_turns_at_systems as cases

pytestmark = pytest.mark.broker
ANSWERS = CONNECTOR_COMPLETED.name
BACKLOG = 2_000
PLACES = 64
IN_HAND = 32  # fewer than a tenant has places: some stand in the topic
SLOW_S = 0.05
ANSWERED_MIN = 40  # before the other tenant comes

ASKING = """
workflow: told.hooks
version: 1
owner: tests
about: Ask a bank.
cost_centre: CC-1
signed_off: {{by: Somebody, on: 2026-11-20}}
input: hook.asked.v1
objectives: {{interactive_p95_s: 15, bulk_p95_s: 600, without_person_min: 0.5}}
policy: {{}}
labels: {{}}
samples: [{{text: hello}}]
start: first
steps:
  first:
    connect:
      status: asking
      system: {system}
      operation: look
      request: {{currency: input.name}}
      deadline_s: {{interactive: 600, bulk: 600}}
      then: done
      on_error: {{reason: not_asked, then: done}}
  done:
    emit: {{status: decided, outcome: told, decided_by: "'policy'"}}
"""


@pytest.fixture
def slow_bank(
    kafka: KafkaSettings, registry_url: str, tmp_path: Path, unique: str
) -> Iterator[tuple[System, Settings]]:
    known = system(unique)
    slow = known.model_copy(update={"limits": known.limits.model_copy(update={"waiting_max": IN_HAND})})
    create(kafka, registry_url, connecting(slow))
    with Outside(tmp_path / "ledger", lambda _number, _method: SLOW_S) as outside:
        yield slow, settings_of(kafka, registry_url, tmp_path, unique, outside.url)


def test_behind_a_backlog_another_tenant_is_answered_within_the_places_of_the_first(
    kafka: KafkaSettings, codec: Codec, slow_bank: tuple[System, Settings]
) -> None:
    """2,000 of one tenant before a slow system, more than a process has in hand: the other's one command is answered
    before twice as many of them as have places, counted in answers.
    """
    slow, settings = slow_bank
    plan = _Plan(kafka, codec, slow)
    for number in range(BACKLOG):
        plan.partition.feed(cases.admitted(number, name="EUR"))

    async def work() -> list[ConnectorCompleted]:
        other = cases.admitted(0, "other", name="CHF")
        speaks = functools.partial(registry.connector, slow)
        serves = [serving.served(slow, speaks, dict(registry.operations_of(slow)))]
        delivery = Delivery(kafka, client_id="test", deliver_s_max=30)
        answered_before = 0
        try:
            async with running(functools.partial(serving.run, systems=serves), settings):
                async with asyncio.timeout(60):
                    while True:
                        await plan.put(delivery)
                        answers = await asyncio.to_thread(plan.hear)
                        if not answered_before and len(answers) >= ANSWERED_MIN:
                            answered_before = len(answers)
                            plan.partition.feed(other)
                        if any(one.tenant == "other" for one in answers):
                            return answers[answered_before:]
        finally:
            await asyncio.to_thread(delivery.close)

    since = asyncio.run(work())
    before = [one.tenant for one in since].index("other")
    assert {one.status for one in since} == {"ok"}
    assert before <= 2 * PLACES
    assert len(plan.partition.gate) > BACKLOG // 2, "the backlog was still there"


class _Plan:
    """Plan's pure core between the answers that are read and the commands that are written."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, asked: System) -> None:
        self._kafka = kafka
        self._codec = codec
        self._topic = connecting(asked).reads[0]
        self._system = asked.system
        told = Workflow.model_validate(yaml.safe_load(ASKING.format(system=asked.system)))
        self.partition = cases.Partition(share=PLACES, workflows=Workflows([told]), is_checked=False, now_ms=wall_ms())
        self._written = 0
        self._heard: list[ConnectorCompleted] = []

    async def put(self, delivery: Delivery) -> None:
        """What is to be asked now."""
        asked = self.partition.of(ConnectorRequested)[self._written :]
        self._written += len(asked)
        await delivery.deliver_all(
            Outgoing(
                self._topic.name,
                one.case_id.encode(),
                self._codec.encode(self._topic, one),
                (("aios-tenant", one.tenant.encode()),),
            )
            for one in asked
        )

    def hear(self) -> list[ConnectorCompleted]:
        """Every answer so far, in the order in which they were given, as far as they are known."""
        read = (self._codec.decode(one.value, ConnectorCompleted) for one in read_all(self._kafka, ANSWERS))
        known = {one.request_id for one in self._heard}
        fresh = [one for one in read if one.system == self._system and one.request_id not in known]
        for one in sorted(fresh, key=lambda one: one.completed_at):
            self._heard.append(one)
            self.partition.feed(one)
        self.partition.settle()
        return self._heard
