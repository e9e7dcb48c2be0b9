"""`aios bench`: every figure that is published comes from one of these."""

from __future__ import annotations

import click

from aios.infra.lazy import Lazy, Place

BENCHES = {
    "pipeline": Place("bench.pipeline", "pipeline", "Cases through the running system: throughput, each stage's time."),
    "stage": Place("bench.stage", "stage", "One process of a stateful stage, with a trivial core."),
    "workflow": Place("bench.workflow", "workflow", "plan alone: transitions a second of cases with twelve steps."),
    "gateway": Place("bench.gateway", "gateway", "Posts that the running gateway acknowledges."),
    "inference": Place("bench.inference", "inference", "Pools beside their engine by itself; lanes; the whole path."),
    "idle": Place("bench.idle", "idle", "CPU of a running system that has nothing to do."),
    "scale": Place("bench.scale", "scale", "Each stage of the running system with one and two processes."),
    "peers": Place("bench.peers", "peers", "Our stateful stage beside a hand-written loop, Quix and Kafka Streams."),
    "laws": Place("bench.laws", "laws", "What the laws of delivery cost, and bad records."),
    "letters": Place("bench.letters", "letters", "The index of dead letters: writes, and each question's time."),
    "replay": Place("bench.replay", "replay", "Dead letters a second that one process brings back, and its dry run."),
    "cases": Place("bench.cases", "cases", "plan with 10 k, 100 k and 1 M decided cases: memory, restart, CPU."),
    "all": Place("bench.everything", "everything", "Those of one machine, one after the other; the figures are kept."),
}


@click.group(cls=Lazy, places=BENCHES)
def group() -> None:
    """Measure; results with the machine's description under infra/bench/results."""
