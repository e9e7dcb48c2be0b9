"""`aios bench workflow --only path`: a case of six outside steps from end to end, and where each millisecond goes.

Enters: cases a second, for how long, and how long the outside system takes for each call. Leaves: of the cases after a
warm-up their P50, P95 and P99, a row for each part of the way, the share that was decided, and what else the machine
did meanwhile. The steps come one after the other, which is the dear order: a model pool with the echo engine, and five
calls of an outside system over HTTP, one of them an effect that writes its intent first. Feeding follows a clock, never
the answers.

    whole    from the timestamp of the event's record to that of the decision's; both are the broker's
    outside  the delay that the outside system keeps, once for each answer, and the model's time in its engine
    ours     whole - outside. HTTP, waiting for a worker, and a delay that lasted longer than it should are ours

Guaranteed: parts add up to the whole, case by case; a case that is not decided, or not by the policy, is counted and
told, not left out of the share. The timestamp of a record is from before its transaction's end, which so counts to the
part behind; the last one's is not in. Rejected: a shipped system with its limits lifted (the figure would be of another
configuration), the outside system's own clock to say what it took (where the machine is full, our share of it would be
taken for its).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any
from uuid import uuid4

import click

from aios.infra import deploying, output
from aios.infra.bench import machine, workflow_path_stand
from aios.infra.bench.system import up
from aios.infra.bench.workflow_path_stand import NAME, POOL_LANE, SYSTEM, Load, Loaded
from aios.infra.deploying import Judged
from aios.infra.output import FAILED, fail
from aios.infra.running import Running, running
from aios.infra.tail import Tail
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, ConnectorCompleted, InferenceCompleted
from aios.schemas.registry import RegistrySource
from aios.streams import carrying, ingest, topics
from aios.streams.delivery import Delivery
from aios.streams.inputs import Input
from aios.streams.pool_files import Lane
from aios.streams.record import Record
from aios.streams.topology import ADMIT
from aios.streams.wall_clock import wall_ms

STEPS = 6
GOAL_MS, GOAL_PER_S = 350, 20
DELAY_MS = 20.0  # of the outside system, each call
WARM_S_MAX = 15.0
SETTLE_S_MAX = 60.0
LOOK_S = 0.2
CROWDED = 0.1  # cores that others used; above, the figures say more of them than of us

MODEL, QUEUE, WORKER = "model", "worker: waits for its turn", "worker: takes, answers"
SYSTEM_TIME, LATE = "outside system: its delay", "outside system: longer than its delay"
HTTP, CALLER, DECIDES = "connectors: HTTP", "connectors: take, answer", "plan: decides"
PARTS: Mapping[str, str] = {
    topics.CASE_ADMITTED.name: "admit",
    topics.inference_requested(POOL_LANE).name: "plan: asks the model",
    topics.INFERENCE_COMPLETED.name: WORKER,
    topics.connector_requested(SYSTEM).name: "plan: asks the system",
    topics.CONNECTOR_INTENDED.name: "connectors: take, write the intent",
    topics.CONNECTOR_COMPLETED.name: CALLER,
    topics.CASE_DECIDED.name: DECIDES,
}
"""By the topic of the record that ends a part."""
INTENDS = PARTS[topics.CONNECTOR_INTENDED.name]
ROWS = (
    *("admit", "plan: asks the model", QUEUE, MODEL, WORKER),
    *("plan: asks the system", INTENDS, SYSTEM_TIME, LATE, HTTP, CALLER, DECIDES),
)
OUTSIDE = (MODEL, SYSTEM_TIME)
_ASKS, _INTENDS, _ANSWERS = (
    topics.connector_requested(SYSTEM).name,
    topics.CONNECTOR_INTENDED.name,
    topics.CONNECTOR_COMPLETED.name,
)
BEHIND: Mapping[str, tuple[str, ...]] = {
    "": (topics.CASE_ADMITTED.name,),
    topics.CASE_ADMITTED.name: (topics.inference_requested(POOL_LANE).name,),
    topics.inference_requested(POOL_LANE).name: (topics.INFERENCE_COMPLETED.name,),
    topics.INFERENCE_COMPLETED.name: (_ASKS,),
    _ASKS: (_INTENDS, _ANSWERS),
    _INTENDS: (_ANSWERS,),
    _ANSWERS: (_ASKS, topics.CASE_DECIDED.name),
}
"""What follows what, for records of one millisecond."""


# ── arithmetic, pure ──


@dataclass(slots=True)
class Way:
    """One case. began_ms: of its event's record. records: its others, as they came from the broker."""

    began_ms: int
    records: list[Record] = field(default_factory=list)

    @property
    def decided(self) -> Record | None:
        return next((record for record in self.records if record.topic == topics.CASE_DECIDED.name), None)


@dataclass(frozen=True, slots=True)
class Hop:
    """Milliseconds of one part, once on a case's way."""

    part: str
    ms: float


def hops(way: Way, codec: Codec, delay_ms: float) -> list[Hop]:
    """Each part as often as the case met it, up to its decision; their sum is the whole."""
    found: list[Hop] = []
    at = way.began_ms
    for record in _in_order(way.records):
        inside = _inside(record, codec, delay_ms)
        took = record.timestamp_ms - at - sum(hop.ms for hop in inside)
        found += [*inside, Hop(PARTS[record.topic], took)]
        at = record.timestamp_ms
        if record.topic == topics.CASE_DECIDED.name:
            break
    return found


def _in_order(records: Iterable[Record]) -> Iterator[Record]:
    """By time, and where that is the same, as one follows another."""
    left, last = sorted(records, key=lambda each: (each.timestamp_ms, list(PARTS).index(each.topic))), ""
    while left:
        at_once = [each for each in left if each.timestamp_ms == left[0].timestamp_ms]
        found = next((each for each in at_once if each.topic in BEHIND.get(last, ())), left[0])
        left.remove(found)
        last = found.topic
        yield found


def _inside(record: Record, codec: Codec, delay_ms: float) -> list[Hop]:
    """What an answer says of the time before it. A call that failed was of no known length: all of it is ours."""
    if record.topic == topics.INFERENCE_COMPLETED.name:
        answer = codec.decode(record.value, InferenceCompleted)
        return [Hop(QUEUE, answer.queue_ms), Hop(MODEL, answer.compute_ms)]
    if record.topic == topics.CONNECTOR_COMPLETED.name:
        told = codec.decode(record.value, ConnectorCompleted)
        if told.status != "ok":
            return [Hop(HTTP, told.call_ms)]
        there_ms = float(json.loads(told.output)["there_ms"])
        return [Hop(SYSTEM_TIME, delay_ms), Hop(LATE, there_ms - delay_ms), Hop(HTTP, told.call_ms - there_ms)]
    return []


def table(ways: Sequence[Sequence[Hop]]) -> list[dict[str, Any]]:
    """A row a part: how often on a case's way, its mean share of the way, and the percentiles of once."""
    by_part: dict[str, list[float]] = defaultdict(list)
    for way in ways:
        for hop in way:
            by_part[hop.part].append(hop.ms)
    return [
        {
            "part": part,
            "times": round(len(took) / len(ways), 2),
            "ms of a case": round(sum(took) / len(ways), 1),
            "mean": round(mean(took), 1),
            **machine.percentiles(took),
        }
        for part in ROWS
        if (took := by_part[part])
    ]


def figures(ways: Sequence[Way], codec: Codec, delay_ms: float, outcome: str) -> dict[str, Any]:
    """Of these cases: the times of those that were decided with this outcome, and how many of all those are."""
    ends = Counter("not decided" if way.decided is None else _outcome(way.decided, codec) for way in ways)
    well = [way for way in ways if way.decided is not None and _outcome(way.decided, codec) == outcome]
    gone = [hops(way, codec, delay_ms) for way in well]
    whole = [sum(hop.ms for hop in each) for each in gone]
    outside = [sum(hop.ms for hop in each if hop.part in OUTSIDE) for each in gone]
    ours = [all_ms - theirs for all_ms, theirs in zip(whole, outside, strict=True)]
    return {
        "cases": len(ways),
        "decided_share": round(len(well) / len(ways), 4),
        "ends": dict(ends),
        "whole_ms": machine.percentiles(whole),
        "outside_ms": machine.percentiles(outside),
        "ours_ms": machine.percentiles(ours),
        "parts": table(gone) if gone else [],
    }


def _outcome(record: Record, codec: Codec) -> str:
    return codec.decode(record.value, CaseDecided).outcome


# ── in the system ──


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured. files: the workflow's; it is deployed from there."""

    seconds: float
    per_s: float
    delay_ms: float
    files: str

    @property
    def warm(self) -> int:
        """Cases that are not counted; the first ones pay for what is lazy."""
        return max(2, round(min(WARM_S_MAX, self.seconds) * self.per_s))

    @property
    def count(self) -> int:
        return max(2, round(self.seconds * self.per_s))


def judged(asked: Asked) -> Judged:
    """The workflow, as `aios workflow deploy` judges it; exits when it would refuse."""
    found = deploying.judge(workflow_path_stand.file_in(asked.files))
    if wrong := [line for one in found.ran for line in one.wrong]:
        fail("\n".join(wrong), FAILED)
    return found


def measured(asked: Asked, workflow: Judged) -> dict[str, Any]:
    """Deploy, feed, follow each case to its end. The system runs already. Raises Unavailable."""
    system = running()
    registry = RegistrySource(system.settings.registry.url)
    codec = Codec(registry)
    try:
        taken = _deployed(system, codec, workflow)
        tail = Tail(system.settings.kafka, PARTS)
        try:
            began, load = asyncio.run(_fed(system, codec, taken, asked))
            ways = {case: Way(began_ms) for case, began_ms in began.items()}
            _followed(tail, ways)
        finally:
            tail.close()
        counted = list(ways.values())[asked.warm :]
        return figures(counted, codec, asked.delay_ms, workflow_path_stand.OUTCOME) | {"machine": load}
    finally:
        registry.close()


def _deployed(system: Running, codec: Codec, workflow: Judged) -> Input:
    """As `aios workflow deploy` does it; admit reads the input when this returns."""
    deploying.deploy(system.settings, codec, workflow, by="aios bench", reason="is measured", active=True)
    taken = workflow.sound.input
    if not deploying.is_read(system.settings.kafka, taken.contract, ADMIT.group):
        fail(f"no admit reads {taken.contract}", FAILED)
    return taken


async def _fed(system: Running, codec: Codec, taken: Input, asked: Asked) -> tuple[dict[str, int], Loaded]:
    """Broker time of each event by its case, in the order they were due; what the machine did behind the warm-up."""
    run, tenant = uuid4().hex[:8], system.settings.default_tenant
    delivery = Delivery(system.settings.kafka, client_id="aios.bench")
    load = Load(system.settings.home)

    async def send(number: int) -> tuple[str, int]:
        await asyncio.sleep(number / asked.per_s)
        fields = {"about": f"{run}-{number}", "text": f"{run} {number}. My card has not arrived yet."}
        body = ingest.validate(fields, taken.body)
        event = ingest.submit(
            body, taken, tenant=tenant, workflow=NAME, idempotency_key=fields["about"], lane=Lane.BULK
        )
        out = carrying.outgoing(
            codec,
            taken.topic,
            event.event,
            key=event.idempotency_key,
            event_id=event.event_id,
            source="/aios/bench",
            subject=event.case_id,
            tenant=tenant,
            time_ms=wall_ms(),
        )
        return event.case_id, (await delivery.deliver(out)).timestamp_ms

    async def warmed_up() -> None:
        await asyncio.sleep(asked.warm / asked.per_s)
        await asyncio.to_thread(load.begin)

    try:
        beginning = asyncio.create_task(warmed_up())
        sent = dict(await asyncio.gather(*(send(number) for number in range(asked.warm + asked.count))))
        await beginning
        return sent, load.end()
    finally:
        delivery.close()


def _followed(tail: Tail, ways: Mapping[str, Way]) -> None:
    """Read until every case is decided, or none was for SETTLE_S_MAX."""
    left = set(ways)
    deadline = time.monotonic() + SETTLE_S_MAX
    while left and time.monotonic() < deadline:
        for record in tail.poll(LOOK_S):
            case = record.header("ce_subject") or (record.key or b"").decode("utf-8", "replace")
            if case not in ways:
                continue
            ways[case].records.append(record)
            if record.topic == topics.CASE_DECIDED.name:
                left.discard(case)
                deadline = time.monotonic() + SETTLE_S_MAX


# ── the command's part ──


def run(seconds: float, per_s: float, *, keep: bool, delay_ms: float = DELAY_MS) -> None:
    """Measure and tell."""
    found = measure(seconds, per_s, delay_ms)
    tell(found)
    if keep:
        command = f"aios bench workflow --only path --seconds {seconds:g} --rate {per_s:g}"
        machine.keep(
            "workflow_path", command, {"load" if name == "machine" else name: of for name, of in found.items()}
        )


def measure(seconds: float, per_s: float, delay_ms: float) -> dict[str, Any]:
    """Start a system of its own with one outside system more, measure in it, stop it. Exits when it cannot."""
    with workflow_path_stand.stand(delay_ms) as (environment, files):
        asked = json.dumps({"seconds": seconds, "per_s": per_s, "delay_ms": delay_ms, "files": str(files)})
        said = workflow_path_stand.inside([sys.executable, "-m", __name__, asked], environment)
    found: dict[str, Any] = {"asked": {"seconds": seconds, "cases_per_s": per_s, "delay_ms": delay_ms}, **said}
    return found


def tell(found: Mapping[str, Any]) -> None:
    """What measure() found, for people."""
    asked, load = found["asked"], found["machine"]
    output.rows(
        found["parts"],
        ("part", "times", "ms of a case", "mean", "p50", "p95", "p99"),
        as_json=False,
        none="nothing was decided",
    )
    click.echo()
    whole = [{"time": name, **found[f"{name}_ms"]} for name in ("whole", "outside", "ours")]
    output.rows(whole, ("time", "p50", "p95", "p99"), as_json=False, none="")
    click.echo(
        f"\n{found['cases']} cases of {STEPS} outside steps at {asked['cases_per_s']:g}/s, decided as they should be: "
        f"{100 * found['decided_share']:.1f} % {found['ends']}\n"
        f"outside: {asked['delay_ms']:g} ms for each of {STEPS - 1} calls, and the model's time in its engine "
        f"(echo: no model)\ngoal: ours {GOAL_MS} ms at P50, at {GOAL_PER_S} cases/s on 2 cores"
    )
    click.echo("\n".join(_about_machine(load)))


def _about_machine(load: Mapping[str, Any]) -> Iterator[str]:
    used = ", ".join(f"{who} {cores:.2f}" for who, cores in load["cores_used"].items())
    yield f"machine: {load['cores']} cores, load average {load['load_average']}; used in cores: {used}"
    yield f"of the system: {', '.join(f'{name} {cores:.2f}' for name, cores in load['processes'].items())}"
    if load["cores_used"]["others"] > CROWDED:
        yield "others used the machine meanwhile: these figures are not for publishing"


def _main() -> None:
    asked = Asked(**json.loads(sys.argv[1]))
    workflow = judged(asked)  # before a minute goes into the start of a system
    with up():
        found = measured(asked, workflow)
    sys.stdout.write(json.dumps(found) + os.linesep)


if __name__ == "__main__":
    _main()
