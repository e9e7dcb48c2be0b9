"""`aios bench workflow`: what one process of plan carries of a workflow with twelve steps.

Enters: nothing; no broker, no other process. Leaves: a table. Cases run through plan's core as its store drives it:
each record is decoded, moves its case, and what it writes is encoded; the state is bytes in a dictionary. A transition
is one record that moved a case. What is left out is the store's own work (`aios bench stage` measures it) and whoever
is asked: their answers are made between two transitions, outside the clock. Process time counts, so a loaded machine
shows what an idle one would.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from typing import Any, cast

import click
import yaml

from aios.infra import output
from aios.infra.bench import machine, screening, workflow_path
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import Workflows
from aios.processors.plan import Plan
from aios.processors.stateful.state import Effects
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import (
    EVENTS,
    CaseAdmitted,
    CaseDecided,
    ConnectorCompleted,
    ConnectorRequested,
    Event,
    InferenceCompleted,
    InferenceRequested,
)
from aios.schemas.registry import InMemory
from aios.streams import topics, topology
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing, Record
from aios.streams.topics import Topic

PARTITIONS = 6
NOW_MS = 1_800_000_000_000
HEADERS = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),)  # as the gateway writes it
WARM = 200  # cases before the clock runs
GOAL_PER_S = 3_000
STRETCH = 50  # cases; what the best of them shows, other processes on the machine took from the others
LINES = 25  # of the profile

TWELVE = """
workflow: bench.twelve
version: 1
owner: bench
about: Twelve steps, nine answers from outside.
input: kyc.application.submitted.v1
objectives: {interactive_p95_s: 15, bulk_p95_s: 600, without_person_min: 0.5}
policy: {score_max: 50, confidence_min: 0.5}
labels: {topics: [mortgage, card, loan]}
samples: [{applicant_name: Ana}]
start: classify
steps:
  classify:
    infer: &infer
      status: classifying
      task: classify
      pool: classify
      model: triage-encoder
      input: input.applicant_name
      input_chars_max: 1000
      options: {head: "'letters'"}
      labels: labels.topics
      deadline_s: {interactive: 60, bulk: 600}
      attempts_max: 2
      then: sure
      on_error: {reason: failed, then: refuse}
  sure:
    rule:
      first_of: [{when: answers.classify.confidence < policy.confidence_min, reason: unsure, then: refuse}]
      otherwise: {reason: confident, then: screen}
  screen:
    connect: &connect
      status: screening
      system: sanctions
      operation: screen
      request: {name: input.applicant_name, born: input.birth_date}
      deadline_s: {interactive: 60, bulk: 600}
      attempts_max: 2
      then: clear
      on_error: {reason: failed, then: refuse}
  clear:
    rule:
      first_of: [{when: answers.screen.score > policy.score_max, reason: near_match, then: refuse}]
      otherwise: {then: gather}
  gather:
    parallel:
      status: gathering
      of:
        register: {connect: &call {system: sanctions, operation: screen, request: {name: input.applicant_name},
                   deadline_s: {interactive: 60, bulk: 600}}}
        bank: {connect: *call}
      then: read
      on_error: {reason: failed, then: refuse}
  read:
    map:
      status: reading
      over: input.documents
      items_max: 5
      each:
        connect: {system: documents, operation: read, request: {name: item.name},
                  deadline_s: {interactive: 60, bulk: 600}}
      then: compare
      on_error: {reason: failed, then: refuse}
  compare:
    connect: {<<: *connect, status: comparing, request: {name: input.applicant_name, pages: answers.read}, then: weigh}
  weigh:
    connect: {<<: *connect, status: weighing, request: {score: answers.compare.score}, then: grave}
  grave:
    rule:
      first_of:
        - {when: "answers.read.exists(page, page.score > policy.score_max)", reason: near_match, then: refuse}
        - {when: answers.weigh.score + answers.register.score > policy.score_max, reason: risk, then: refuse}
      otherwise: {reason: clear, then: tell}
  tell:
    connect: {<<: *connect, status: telling, effect: at_least_once, then: approve}
  approve:
    emit:
      status: decided
      outcome: approved
      decided_by: "'policy'"
      label: answers.classify.label
      confidence: answers.classify.confidence
      output: {score: answers.weigh.score}
  refuse: {emit: {status: decided, outcome: refused, decided_by: "'policy'"}}
"""
INPUT = {
    "applicant_name": "Ana Maria Alvarez Gutierrez",
    "birth_date": "1980-05-03",
    "country": "ES",
    "address": "Calle Mayor 12, 28013 Madrid, Spain",
    "documents": [{"name": "passport.txt"}, {"name": "bill.txt"}],
}


@click.command()
@click.option("--cases", type=click.IntRange(100, 1_000_000), default=2_000, show_default=True)
@click.option("--profile", is_flag=True, help="Say where the time goes; slower.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
@click.option("--only", type=click.Choice(["plan", "screening", "path"]), default="plan", show_default=True)
@click.option("--names", type=click.IntRange(100, 1_000_000), default=screening.NAMES, help="To screen.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=60, show_default=True, help="Of path.")
@click.option(
    "--rate", type=click.FloatRange(0.1, 1000), default=20, show_default=True, help="Of path: cases a second."
)
def workflow(*, cases: int, profile: bool, keep: bool, only: str, names: int, seconds: float, rate: float) -> None:
    """Transitions a second through plan's core, of cases with twelve steps; or names a second that are screened."""
    if only == "path":
        workflow_path.run(seconds, rate, keep=keep)
        return
    if only == "screening":
        screened = screening.measure(names)
        output.one(screened, as_json=False)
        if keep:
            machine.keep("screening", f"aios bench workflow --only screening --names {names}", screened)
        return
    bench = Bench()
    bench.run(WARM)
    watch = cProfile.Profile() if profile else None
    figures = bench.run(cases, watch)
    output.one(figures, as_json=False)
    if watch is not None:
        click.echo(_told(watch))
    if keep:
        machine.keep("workflow", f"aios bench workflow --cases {cases}", figures)


def _told(watch: cProfile.Profile) -> str:
    text = StringIO()
    pstats.Stats(watch, stream=text).sort_stats("tottime").print_stats(LINES)
    return text.getvalue()


class _Store(dict[bytes, bytes]):
    """What the stage remembers of one partition."""

    def apply(self, effects: Effects) -> None:
        for key, value in effects.changes.items():
            if value is None:
                self.pop(key, None)
            else:
                self[key] = value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return ((key, value) for key, value in self.items() if key.startswith(prefix))


@dataclass(slots=True)
class Bench:
    """plan's core, what it remembers, and whoever it asks."""

    codec: Codec = field(default_factory=lambda: Codec(InMemory()))
    stores: list[_Store] = field(default_factory=lambda: [_Store() for _ in range(PARTITIONS)])
    number: int = 0
    core: Plan = field(init=False)
    _contracts: dict[str, type[Event]] = field(init=False)

    def __post_init__(self) -> None:
        self.codec.warm(topology.all_topics().values())
        twelve = Workflow.model_validate(yaml.safe_load(TWELVE))
        self.core = Plan(self.codec, Workflows([twelve]), PARTITIONS)
        self._contracts = {
            topic.name: EVENTS[topic.contracts[0]] for topic in topology.all_topics().values() if topic.contracts
        }

    def run(self, cases: int, watch: cProfile.Profile | None = None) -> dict[str, Any]:
        """Cases one after the other, each from its event to its decision."""
        seconds, transitions, decided, written = 0.0, 0, 0, 0
        best = 0.0  # of a stretch
        since = (0.0, 0)
        for number in range(1, cases + 1):
            self.number += 1
            left = deque([self._admitted()])
            while left:
                record = left.popleft()
                store = self.stores[record.partition]
                spent, effects = self._timed(partial(self._step, record, store), watch)
                seconds += spent
                transitions += 1
                written += len(effects.outputs)
                for out in effects.outputs:
                    event = self._read(out)
                    decided += isinstance(event, CaseDecided)
                    if isinstance(event, InferenceRequested | ConnectorRequested):
                        left.append(self._answer(event))
            if number % STRETCH == 0:
                best = max(best, (transitions - since[1]) / (seconds - since[0]))
                since = (seconds, transitions)
        return {
            "cases": cases,
            "decided": decided,
            "transitions": transitions,
            "transitions of a case": round(transitions / cases, 1),
            "records written of a case": round(written / cases, 1),
            "CPU seconds": round(seconds, 2),
            "transitions/s": round(transitions / seconds),
            f"best {STRETCH} cases, transitions/s": round(best),
            "goal, transitions/s": GOAL_PER_S,
            "cases/s": round(cases / seconds),
        }

    def _timed(self, call: Callable[[], Effects], watch: cProfile.Profile | None) -> tuple[float, Effects]:
        if watch is not None:
            watch.enable()
        begin = time.process_time()
        effects = call()
        spent = time.process_time() - begin
        if watch is not None:
            watch.disable()
        return spent, effects

    def _step(self, record: Record, store: _Store) -> Effects:
        effects = self.core.step(record, store, NOW_MS)
        store.apply(effects)
        return effects

    def _admitted(self) -> Record:
        case_id = ids.case_id("demo", "bench.twelve", str(self.number))
        event = CaseAdmitted(
            case_id=case_id,
            tenant="demo",
            workflow="bench.twelve",
            event_id=f"e{self.number}",
            idempotency_key=str(self.number),
            body_hash=ids.body_hash(INPUT),
            lane="bulk",
            input_contract="kyc.application.submitted.v1",
            input=ids.canonical(INPUT),
            received_at=NOW_MS,
            admitted_at=NOW_MS,
            source_topic="kyc.application.submitted.v1",
            source_partition=0,
            source_offset=self.number,
        )
        return self._record(topics.CASE_ADMITTED, event)

    def _record(self, topic: Topic, event: Event) -> Record:
        key = cast(Any, event).case_id.encode()
        value = self.codec.encode(topic, event)
        return Record(topic.name, partition_of(key, PARTITIONS), self.number, NOW_MS, key, value, HEADERS)

    def _read(self, out: Outgoing) -> Event:
        return self.codec.decode(out.value, self._contracts[out.topic])

    def _answer(self, asked: InferenceRequested | ConnectorRequested) -> Record:
        common: dict[str, Any] = {
            "request_id": asked.request_id,
            "case_id": asked.case_id,
            "tenant": asked.tenant,
            "workflow": asked.workflow,
            "step": asked.step,
            "attempt": asked.attempt,
            "status": "ok",
            "completed_at": NOW_MS,
        }
        if isinstance(asked, InferenceRequested):
            said = {"label": "card", "confidence": 0.9, "out_of_scope": 0.1}
            event: Event = InferenceCompleted(
                **common,
                task=asked.task,
                output=ids.canonical(said),
                output_contract="classification.v1",
                model=asked.model,
                engine="none",
                input_hash="",
                prompt_tokens=9,
                output_tokens=0,
                lane=asked.lane,
                queue_ms=1,
                compute_ms=1,
                pool=asked.pool,
            )
            return self._record(topics.INFERENCE_COMPLETED, event)
        event = ConnectorCompleted(
            **common,
            system=asked.system,
            operation=asked.operation,
            reason="",
            output=ids.canonical({"score": 7, "reasons": ["no name of the list is near", "born in another year"]}),
            output_contract="said.v1",
            tries=1,
            reconciled=False,
            waited_ms=1,
            call_ms=1,
        )
        return self._record(topics.CONNECTOR_COMPLETED, event)
