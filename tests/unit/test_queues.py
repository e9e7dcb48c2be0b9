"""What waits before a pool is told to Prometheus: what the turnstile keeps of the partitions that are here."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from aios.dlq.settle import Settler
from aios.processors.cases.queues import Queues
from aios.processors.cases.turnstile import place_at, pool_key
from aios.processors.plan import Plan
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.store import PartitionStore, Services
from aios.schemas.codec import Codec
from aios.schemas.models import CaseAdmitted, InferenceCompleted, InferenceRequested, PoolRemembered
from aios.streams import installed, topics
from aios.streams.topics import Topic
from aios.streams.topology import PLAN
from tests.fakes import admissions
from tests.fakes.answers import answer_to
from tests.fakes.breakers import OwnBreakers
from tests.fakes.memory_log import MemoryLog
from tests.fakes.registry import FakeRegistry
from tests.fakes.triage import plain
from tests.unit.test_parking import Alive

NOW_MS = 1_700_000_000_000
BODY = {"text": "Where is my card?", "channel": "message", "subject": "", "customer_id": ""}
POOL = "classify.bulk"


def waiting(pool: str = POOL) -> float:
    (gauge,) = REGISTRY.restricted_registry(["aios_turns_waiting"]).collect()  # all others would take their time
    (found,) = [one.value for one in gauge.samples if one.labels == {"pool": pool}]
    return found


ACTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["a", "b"]), st.integers(-1, 9), st.integers(1, 5)), max_size=40
)


@given(ACTS)
@settings(max_examples=40, deadline=None)
def test_a_process_tells_what_waits_in_the_partitions_that_it_has(acts: list[tuple[int, str, int, int]]) -> None:
    """The last that was kept of each tenant; of a partition that has left, nothing."""
    queues, known = Queues([POOL]), dict[tuple[int, str], int]()
    before = waiting()
    for partition, tenant, length, first in acts:
        if length < 0:
            queues.forget(partition)
            known = {place: count for place, count in known.items() if place[0] != partition}
        else:
            kept = PoolRemembered(outstanding=1, first=first, next=first + length) if length else None
            queues.see(partition, pool_key(tenant, POOL), kept)
            known[partition, tenant] = length
        assert waiting() - before == sum(known.values())
    for partition in range(3):
        queues.forget(partition)
    assert waiting() == before


def test_endpoints_of_a_system_wait_under_its_name() -> None:
    """Parties name endpoints, so that there may be any number of them: they are no labels."""
    queues, before = Queues([place_at("webhook")]), waiting("connectors.webhook")
    for endpoint in ("", "a", "b"):
        key = pool_key("acme", place_at("webhook", endpoint))
        queues.see(0, key, PoolRemembered(outstanding=1, first=1, next=3))
    assert waiting("connectors.webhook") - before == 6


class Partition:
    """The one partition of plan, on a log in memory; a tenant has one place at each pool."""

    def __init__(self) -> None:
        self.codec = Codec(FakeRegistry())
        assert PLAN.changelog is not None
        self.codec.warm([PLAN.changelog])
        self.log = MemoryLog(self.codec, PLAN)
        self.store = self.opened()

    def opened(self) -> PartitionStore:
        """As in another process."""
        narrow = {"limits": installed.pools()[POOL].limits.model_copy(update={"tenant_outstanding_max": 1})}
        pools = {name: pool.model_copy(update=narrow) for name, pool in installed.pools().items()}
        services = Services(
            stage=PLAN,
            core=Plan(self.codec, plain(), 1, pools=pools),
            codec=self.codec,
            log=self.log,
            deaths=cast(Any, Alive()),
            settler=Settler(PLAN, "test", breakers=OwnBreakers()),
        )
        store = PartitionStore(services, 0)
        store.open()
        return store

    def put(self, topic: Topic, event: CaseAdmitted | InferenceCompleted) -> None:
        self.log.put(topic.name, event.case_id.encode(), self.codec.encode(topic, event))

    def run(self) -> None:
        """Until every input is read, those that plan writes itself too."""
        while left := [t.name for t in PLAN.inputs if len(self.log.topics[t.name]) > self.store.position[t.name]]:
            for name in left:
                start, written = self.store.position[name], self.log.topics[name]
                self.store.apply([Batch(name, 0, start, written[start:], len(written))])

    def commands(self) -> list[InferenceRequested]:
        written = self.log.topics[topics.inference_requested(POOL).name]
        return [self.codec.decode(one.value, InferenceRequested) for one in written]


def test_a_backlog_in_plans_state_is_told_by_whoever_has_it() -> None:
    """Ten cases, one place: nine wait; after an answer eight; so says the next owner, and who has left says none."""
    world, before = Partition(), waiting()
    for number in range(10):
        world.put(topics.CASE_ADMITTED, admissions.admitted(BODY, key=str(number), lane="bulk", at=NOW_MS))
    world.run()
    assert (waiting() - before, len(world.commands())) == (9, 1)
    said = '{"label":"card_arrival","confidence":0.9,"out_of_scope":0.1}'
    (asked,) = world.commands()
    world.put(topics.INFERENCE_COMPLETED, answer_to(asked, output=said, completed_at=NOW_MS))
    world.run()
    assert (waiting() - before, len(world.commands())) == (8, 2)
    world.store.close()
    assert waiting() == before
    world.store = world.opened()
    assert waiting() - before == 8
    answered = Counter[str]({asked.request_id: 1})
    while new := [one for one in world.commands() if not answered[one.request_id]]:
        for one in new:
            answered[one.request_id] += 1
            world.put(topics.INFERENCE_COMPLETED, answer_to(one, output=said, completed_at=NOW_MS))
        world.run()
    assert (waiting() - before, len(world.commands())) == (0, 10)
    world.store.close()
