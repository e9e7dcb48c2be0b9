"""`aios bench pipeline`: cases through the running system; throughput, and the time of each stage and end to end.

Enters: a running system (its models, its broker). Leaves: a table and infra/bench/results/pipeline.json. Times are
differences of broker timestamps of a case's own records, so that what waits in a topic counts as the stage's.
Guaranteed: a case that does not come to rest in SETTLE_S_MAX is reported as missing and the command fails.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import click

from aios.infra import output
from aios.infra.bench import machine
from aios.infra.demo import texts
from aios.infra.running import running
from aios.infra.tail import Tail
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import DocumentReceived
from aios.schemas.registry import RegistrySource
from aios.streams import topology
from aios.streams.config import Settings
from aios.streams.kafka import Delivery
from aios.streams.record import Outgoing, Record
from aios.streams.topics import CASE_ADMITTED, CASE_DECIDED, DOCUMENT_RECEIVED, INFERENCE_COMPLETED, REVIEW_REQUESTED

SETTLE_S_MAX = 900.0
POLL_S = 0.3
WORKFLOW = "document.triage"
REQUESTS = {pool.reads[0].name: pool.process for pool in topology.POOLS}
WATCHED = (CASE_ADMITTED.name, INFERENCE_COMPLETED.name, REVIEW_REQUESTED.name, CASE_DECIDED.name, *REQUESTS)
OUTCOMES = (REVIEW_REQUESTED.name, CASE_DECIDED.name)


@dataclass(slots=True)
class Run:
    """published_ms: broker time of each case's event. steps: milliseconds by stage, one a record."""

    published_ms: Mapping[str, int] = field(default_factory=dict)
    settled_ms: dict[str, int] = field(default_factory=dict)
    steps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    last: dict[str, tuple[str, int]] = field(default_factory=dict)  # case → its last record's stage and time

    def take(self, record: Record) -> None:
        case = record.header("ce_subject") or ""  # the key of a command is its tenant's
        if case not in self.published_ms or case in self.settled_ms:
            return
        at = record.timestamp_ms
        if record.topic == CASE_ADMITTED.name:
            self._step(case, "admit", self.published_ms[case], at)
        elif record.topic == INFERENCE_COMPLETED.name:
            model, asked = self.last.get(case, ("", at))
            self._step(case, model or "pool", asked, at)
        else:
            self._step(case, "plan", self.last.get(case, ("", at))[1], at)
            self.last[case] = (REQUESTS.get(record.topic, ""), at)
        if record.topic in OUTCOMES:
            self.settled_ms[case] = at
            self.steps["end to end"].append(at - self.published_ms[case])

    def _step(self, case: str, stage: str, since: int, at: int) -> None:
        self.steps[stage].append(max(0, at - since))
        self.last[case] = ("", at)


@click.command()
@click.option("--cases", type=click.IntRange(10, 20_000), default=200, show_default=True)
@click.option("--rate", type=click.IntRange(1, 10_000), help="Cases a second; default: all at once.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def pipeline(cases: int, rate: int | None, keep: bool) -> None:
    """Throughput, and P50, P95 and P99 of each stage and end to end, of the running system."""
    figures = measure(running().settings, cases, rate)
    output.rows(figures["stages"], ("stage", "records", "p50", "p95", "p99"), as_json=False, none="nothing came out")
    click.echo(f"{figures['settled']} of {cases} cases in {figures['seconds']} s: {figures['cases_per_s']} cases/s")
    if figures["settled"] < cases:
        output.fail(f"{cases - figures['settled']} cases did not come to rest within {SETTLE_S_MAX:.0f} s")
    if keep:
        machine.keep("pipeline", f"aios bench pipeline --cases {cases}" + (f" --rate {rate}" if rate else ""), figures)


def measure(settings: Settings, cases: int, rate: int | None) -> dict[str, Any]:
    """Publish and wait until all is settled. rate: cases a second; None: all at once. Raises Unavailable."""
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    tail = Tail(settings.kafka, WATCHED, gathers=True)
    run = Run()
    try:
        run.published_ms = asyncio.run(_publish(settings, codec, cases, rate))
        deadline = time.monotonic() + SETTLE_S_MAX
        while len(run.settled_ms) < cases and time.monotonic() < deadline:
            for record in tail.poll(POLL_S):
                run.take(record)
    finally:
        tail.close()
        registry.close()
    return _figures(run)


async def _publish(settings: Settings, codec: Codec, cases: int, rate: int | None) -> dict[str, int]:
    """Texts of the demo in turn, each a new case; returns broker times by case id."""
    name = f"bench-{uuid4().hex[:8]}"
    kinds = texts.load(name)
    delivery = Delivery(settings.kafka, client_id="aios.bench")
    outgoing = {}
    for number in range(cases):
        key = f"{name}-{number}"
        value = codec.encode(DOCUMENT_RECEIVED, DocumentReceived(text=kinds[number % len(kinds)].text))
        outgoing[ids.case_id(settings.default_tenant, WORKFLOW, key)] = Outgoing(
            DOCUMENT_RECEIVED.name, key.encode(), value
        )
    try:
        if rate is None:
            places = await delivery.deliver_all(outgoing.values())
        else:
            places = await asyncio.gather(*(_later(delivery, out, n / rate) for n, out in enumerate(outgoing.values())))
    finally:
        delivery.close()
    return {case: place.timestamp_ms for case, place in zip(outgoing, places, strict=True)}


async def _later(delivery: Delivery, out: Outgoing, after_s: float) -> Any:
    await asyncio.sleep(after_s)
    return await delivery.deliver(out)


def _figures(run: Run) -> dict[str, Any]:
    seconds = 0.0
    if run.settled_ms:
        seconds = max(0.001, (max(run.settled_ms.values()) - min(run.published_ms.values())) / 1000)
    return {
        "settled": len(run.settled_ms),
        "seconds": round(seconds, 1),
        "cases_per_s": round(len(run.settled_ms) / seconds, 1) if seconds else 0,
        "stages": [
            {"stage": stage, "records": len(took), **machine.percentiles(took)} for stage, took in run.steps.items()
        ],
    }
