"""A pool's worker on a real broker, with the engine that has no model: whose turn it is, and what is cancelled."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from aios.inference_workers import worker
from aios.inference_workers.tasks import CLASSIFIER
from aios.infra.local import child
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCancelled, InferenceCompleted, InferenceRequested
from aios.streams import installed, slots, topics, topology
from aios.streams.config import InferenceSettings, KafkaSettings, RegistrySettings, Settings
from aios.streams.kafka import Delivery, Place, ensure_topics, read_all
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing, Record
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.wall_clock import wall_ms
from tests.broker.running import begin_at_the_end, owed, read_again, running, until, until_in_hand
from tests.broker.test_workflow_deploy import process

pytestmark = pytest.mark.broker
STAGE = topology.BY_NAME["classify.bulk"]
ASKED = STAGE.reads[0]
OUTSTANDING_MAX = installed.pools()[STAGE.name].limits.tenant_outstanding_max
GREEDY = 16  # tenants with as much as that
MODEST = 20  # requests of each modest tenant
SLOW_S = 0.02
AT_ONCE = 8
RUN = functools.partial(worker.run, process="classify")


@pytest.fixture(scope="module", autouse=True)
def _own_records(kafka: KafkaSettings) -> Iterator[None]:
    """These tests see nothing of what others left, and what they leave is nobody else's work."""
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    begin_at_the_end(kafka, STAGE.group, ASKED.name)
    yield
    begin_at_the_end(kafka, STAGE.group, ASKED.name)


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, tmp_path: Path) -> Settings:
    """Of one worker without a model."""
    return Settings(
        home=tmp_path,
        kafka=kafka,
        registry=RegistrySettings(url=registry_url),
        inference=InferenceSettings(engine="echo", in_flight_max=AT_ONCE),
    )


def request(name: str, tenant: str, slow_s: float = SLOW_S) -> InferenceRequested:
    now_ms = wall_ms()
    return InferenceRequested(
        request_id=name,
        case_id=f"case-{name}",
        tenant=tenant,
        workflow="document.triage",
        step="classify",
        attempt=1,
        task="classify",
        model=CLASSIFIER,
        input=f"AIOS-DRILL-SLOW={slow_s:.3f} {name}",
        options=json.dumps({"head": "letters"}),
        lane="bulk",
        deadline_at=now_ms + 600_000,
        requested_at=now_ms,
    )


async def put(kafka: KafkaSettings, codec: Codec, asked: Sequence[InferenceRequested]) -> dict[str, Place]:
    """As plan does; where each stands."""
    delivery = Delivery(kafka, client_id="test", deliver_s_max=30)
    try:
        places = await delivery.deliver_all(
            Outgoing(
                ASKED.name,
                slots.key_of(one.tenant, one.case_id),
                codec.encode(ASKED, one),
                (("aios-tenant", one.tenant.encode()), *slots.headers(one.deadline_at, one.priority, one.model)),
            )
            for one in asked
        )
        return {one.request_id: place for one, place in zip(asked, places, strict=True)}
    finally:
        await asyncio.to_thread(delivery.close)


def answered(kafka: KafkaSettings, codec: Codec, prefix: str) -> list[InferenceCompleted]:
    """Of requests whose names begin so, in the order of the broker's time."""
    read: list[Record] = sorted(read_all(kafka, INFERENCE_COMPLETED.name), key=lambda one: one.timestamp_ms)
    answers = (codec.decode(record.value, InferenceCompleted) for record in read)
    return [answer for answer in answers if answer.request_id.startswith(prefix)]


def test_what_is_cancelled_ends_while_it_runs_and_costs_nothing_before(
    settings: Settings, kafka: KafkaSettings, codec: Codec, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker that was stopped had in hand is left to the next one; there it is cancelled, in hand or not yet."""
    monkeypatch.setattr(worker, "DRAIN_S_MAX", 0.5)
    endless = request(f"{unique}-endless", "demo", slow_s=300)
    other = request(f"{unique}-other", "demo", slow_s=300)
    quick = request(f"{unique}-quick", "demo")

    async def work() -> list[InferenceCompleted]:
        await put(kafka, codec, [endless, quick])
        async with running(RUN, settings):
            await until(lambda: answered(kafka, codec, unique), 1)
        assert [answer.request_id for answer in answered(kafka, codec, unique)] == [quick.request_id]
        await cancel(kafka, codec, endless, "case_decided")
        async with running(RUN, settings):
            await until(lambda: answered(kafka, codec, unique), 2)
            await put(kafka, codec, [other, last := request(f"{unique}-last", "demo")])
            await until(lambda: answered(kafka, codec, last.request_id), 1)
            await cancel(kafka, codec, other, "timed_out")
            await until(lambda: answered(kafka, codec, unique), 4)
        return answered(kafka, codec, unique)

    found = {answer.request_id: answer for answer in asyncio.run(work())}
    first, second = found[endless.request_id], found[other.request_id]
    assert (first.status, first.reason, first.cost_micro) == ("expired", "cancelled: case_decided", 0)
    assert (second.status, second.reason) == ("expired", "cancelled: timed_out")
    assert found[quick.request_id].status == "ok"


def test_a_worker_that_is_to_leave_finishes_what_it_can_and_releases_the_rest(
    settings: Settings, kafka: KafkaSettings, codec: Codec, unique: str
) -> None:
    """A process that has SIGTERM: what is answered within the time to leave is committed as far as nothing before it is
    unfinished, what is not is nobody's, and the process ends well and in time.
    """
    asked = [request(f"{unique}-{n}", "demo", slow_s=4) for n in range(6)]
    endless = request(f"{unique}-endless", "demo", slow_s=300)
    with process(settings, "classify", AIOS_INFERENCE__ENGINE="echo") as leaving:
        places = asyncio.run(put(kafka, codec, [endless, *asked]))
        until_in_hand(settings.home, "classify", STAGE.name, len(places))
        told_at = time.monotonic()
        leaving.terminate()
        assert leaving.wait(child.STOP_S_MAX) == 0
        assert time.monotonic() - told_at >= worker.DRAIN_S_MAX, "it did not wait for what it had in hand"
    said = answered(kafka, codec, unique)
    assert sorted((one.request_id, one.status) for one in said) == sorted((one.request_id, "ok") for one in asked)
    assert read_again(kafka, STAGE.group, places) == owed(places, {one.request_id for one in said})
    asyncio.run(cancel(kafka, codec, endless, "case_decided"))  # no other test shall wait for it


async def cancel(kafka: KafkaSettings, codec: Codec, request: InferenceRequested, reason: str) -> None:
    topic = topics.inference_cancelled(STAGE.name)
    event = InferenceCancelled(
        request_id=request.request_id,
        case_id=request.case_id,
        tenant=request.tenant,
        pool=STAGE.name,
        reason=reason,
        cancelled_at=wall_ms(),
    )
    delivery = Delivery(kafka, client_id="test")
    try:
        await delivery.deliver(Outgoing(topic.name, request.request_id.encode(), codec.encode(topic, event)))
    finally:
        await asyncio.to_thread(delivery.close)


def test_backlogs_of_many_tenants_keep_nobody_waiting(
    settings: Settings, kafka: KafkaSettings, codec: Codec, unique: str
) -> None:
    """All that plan lets out of each lies there first, in the partitions of everybody: when the few of four others are
    answered, those with a backlog have had about their shares.
    """
    partitions = ASKED.partitions(kafka.partitions)
    backlog = [request(f"{unique}-g{n}", f"greedy-{n % GREEDY}") for n in range(GREEDY * OUTSTANDING_MAX)]
    few = [request(f"{unique}-m{n}", f"modest-{n % 4}") for n in range(MODEST * 4)]
    taken = {partition_of(slots.key_of(one.tenant, one.case_id), partitions) for one in backlog}
    assert {partition_of(slots.key_of(one.tenant, one.case_id), partitions) for one in few} <= taken

    async def work() -> list[InferenceCompleted]:
        await put(kafka, codec, backlog)
        await put(kafka, codec, few)
        async with running(RUN, settings):
            await until(lambda: answered(kafka, codec, f"{unique}-m"), len(few))
        return answered(kafka, codec, unique)

    answers = asyncio.run(work())
    last = max(at for at, answer in enumerate(answers) if answer.tenant.startswith("modest"))
    had = Counter(answer.tenant for answer in answers[:last] if answer.tenant.startswith("greedy"))
    assert {answer.status for answer in answers} == {"ok"}
    # The share of each while others wait is MODEST; they have the engine alone until those are read.
    assert had.total() <= len(backlog) // 4
    assert min(had[f"greedy-{n}"] for n in range(GREEDY)) >= MODEST // 2
    assert {(answer.pool, answer.cached) for answer in answers} == {(STAGE.name, False)}
