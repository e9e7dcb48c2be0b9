"""What the whole path adds to a direct call of the model, and where each millisecond goes.

Enters: a running system on this machine, and messages that callers wait for (HTTP, `Prefer: wait`), so many a second.
Leaves: for each part of the way its mean, P50, P95 and P99, in milliseconds; means add up to the whole. Times are
broker timestamps of a case's own records, and this process's clock at both ends; `waits for its turn` and `model` are
the worker's own, out of its answer. Guaranteed: a message begins when it was due, as for the direct call, however late
this process was in sending it; one that did not come to rest is an error, not left out; one that goes to a person,
whose caller is told no more than that, is counted apart, up to where the person is asked.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any
from uuid import uuid4

from aiohttp import ClientSession, TCPConnector

from aios.infra.bench import machine
from aios.infra.bench.inference_requests import texts
from aios.infra.output import FAILED, fail
from aios.infra.running import Running
from aios.infra.tail import Tail
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted
from aios.schemas.registry import RegistrySource
from aios.streams import tenants, topics, topology
from aios.streams.record import Record

PATH = "/v1/workflows/document.triage/cases"
WAIT_S = 10
REST_S_MAX = 60.0
CONNECTIONS = 256
LOOK_S = 0.02
WHOLE = "whole path"
REQUESTED = frozenset(pool.reads[0].name for pool in topology.POOLS)
ENDS = frozenset({topics.CASE_DECIDED.name, topics.REVIEW_REQUESTED.name})
PARTS = {
    topics.DOCUMENT_RECEIVED.name: "gateway: the event is acknowledged",
    topics.CASE_ADMITTED.name: "admit",
    topics.BUDGET_REQUESTED.name: "plan: asks for its budget",
    topics.BUDGET_ANSWERED.name: "budget",
    **dict.fromkeys(REQUESTED, "plan: asks the model"),
    topics.INFERENCE_COMPLETED.name: "worker: takes, answers",
    **dict.fromkeys(ENDS, "plan: decides"),
}
TURN, MODEL, ANSWER = "worker: waits for its turn", "model", "outcomes and gateway: the caller is answered"
"""By the topic of the record that ends a part."""


@dataclass(slots=True)
class Way:
    """One case. began: when it was due; ended: when its caller had an answer; his clock, Unix ms."""

    began: float
    ended: float = 0.0
    status: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def rested(self) -> bool:
        return any(record.topic in ENDS for record in self.records)

    @property
    def person(self) -> bool:
        """Whether it waits for one."""
        return any(record.topic == topics.REVIEW_REQUESTED.name for record in self.records)


def parts(way: Way, codec: Codec) -> dict[str, float]:
    """Milliseconds by part; they add up to the whole. An answer's own turn and model time are taken out of its part."""
    found: dict[str, float] = defaultdict(float)
    at = way.began
    for record in sorted(way.records, key=lambda each: (each.timestamp_ms, list(PARTS).index(each.topic))):
        took = record.timestamp_ms - at
        if record.topic == topics.INFERENCE_COMPLETED.name:
            answer = codec.decode(record.value, InferenceCompleted)
            found[TURN] += answer.queue_ms
            found[MODEL] += answer.compute_ms
            took -= answer.queue_ms + answer.compute_ms
        found[PARTS[record.topic]] += took
        at = record.timestamp_ms
        if record.topic in ENDS:
            break
    if way.status == 200:
        found[ANSWER] += way.ended - at
        at = way.ended
    return {**found, WHOLE: at - way.began}


def table(ways: Sequence[Way], codec: Codec) -> list[dict[str, Any]]:
    """A row a part, in the order of the way, then the whole."""
    found: dict[str, list[float]] = defaultdict(list)
    for way in ways:
        for part, took in parts(way, codec).items():
            found[part].append(took)
    order = [*dict.fromkeys(PARTS.values())]
    order[order.index("worker: takes, answers") : order.index("worker: takes, answers")] = [TURN, MODEL]
    return [
        {
            "part": part,
            "cases": len(found[part]),
            "mean": round(mean(found[part]), 1),
            **machine.percentiles(found[part]),
        }
        for part in (*order, ANSWER, WHOLE)
        if found[part]
    ]


def measure(system: Running, count: int, per_s: float) -> list[Way]:
    """Post so many messages and follow each to its end. Raises Unavailable; exits when one is not answered."""
    tail = Tail(system.settings.kafka, PARTS)
    ways: dict[str, Way] = {}
    try:
        key = tenants.kept_key(system.settings.home, system.settings.default_tenant)
        ways = asyncio.run(posted(system.gateway, key, count, per_s))
        deadline = time.monotonic() + REST_S_MAX
        while not all(way.rested for way in ways.values()):
            if time.monotonic() > deadline:
                late = sum(not way.rested for way in ways.values())
                fail(f"{late} of {count} messages did not come to rest within {REST_S_MAX:.0f} s", FAILED)
            for record in tail.poll(LOOK_S):
                case = record.header("ce_subject") or (record.key or b"").decode("utf-8", "replace")
                if case in ways:
                    ways[case].records.append(record)
    finally:
        tail.close()
    return list(ways.values())


def figures_of(system: Running, ways: Sequence[Way]) -> dict[str, Any]:
    registry = RegistrySource(system.settings.registry.url)
    try:
        return figures(ways, Codec(registry))
    finally:
        registry.close()


def figures(ways: Sequence[Way], codec: Codec) -> dict[str, Any]:
    """cases: that were decided; late: of these, whose caller had gone. persons: the others, until somebody is asked."""
    decided, asked = [way for way in ways if not way.person], [way for way in ways if way.person]
    if len(decided) < 2:
        fail(f"{len(asked)} of {len(ways)} messages went to people: too few came back to a caller", FAILED)
    until_asked = [parts(way, codec)[WHOLE] for way in asked]
    return {
        "cases": len(decided),
        "late": sum(way.status != 200 for way in decided),
        "parts": table(decided, codec),
        "persons": {"cases": len(asked), **machine.percentiles(until_asked)},
    }


async def posted(gateway: str, key: str, count: int, per_s: float) -> dict[str, Way]:
    """So many messages as they are due, by case."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Prefer": f"wait={WAIT_S}"}
    run, messages, first_ms = uuid4().hex[:8], texts("classify"), time.time() * 1000
    async with ClientSession(headers=headers, connector=TCPConnector(limit=CONNECTIONS)) as client:

        async def post(number: int) -> tuple[str, Way]:
            await asyncio.sleep(number / per_s)
            body = json.dumps({"text": f"{run} {number}. {messages[number % len(messages)]}", "channel": "message"})
            way = Way(began=first_ms + number / per_s * 1000)
            async with client.post(gateway + PATH, data=body) as response:
                said: Mapping[str, Any] = await response.json()
            way.ended, way.status = time.time() * 1000, response.status
            if response.status not in (200, 202):
                fail(f"the gateway answered {response.status}: {said.get('detail')}", FAILED)
            return str(said["case_id"]), way

        return dict(await asyncio.gather(*(post(number) for number in range(count))))
