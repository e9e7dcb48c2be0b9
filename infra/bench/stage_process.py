"""The stage that `aios bench stage` measures: python -m aios.infra.bench.stage_process BOOTSTRAP HOME.

Enters: documents of about a kilobyte in Avro, with the headers of a real producer. Leaves: the same document with its
count, in Avro, with headers. All that a stage does is real (decode, keyed state, encode, headers, spans, fenced
transaction, changelog); only the decision in the middle is trivial.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

from aios.processors.stateful.member import run_stage
from aios.processors.stateful.state import Effects, StateView
from aios.schemas.codec import Codec
from aios.schemas.models import DocumentReceived
from aios.schemas.registry import InMemory
from aios.streams import collector, logs, tracing
from aios.streams.config import KafkaSettings, Settings, TracingSettings
from aios.streams.errors import StateBroken
from aios.streams.record import Outgoing, Record
from aios.streams.topics import Family, Topic
from aios.streams.topology import Kind, Objective, Stage

SAMPLED = 0.01  # of the traces


def _topic(name: str) -> Topic:
    return Topic(name=name, contracts=(DocumentReceived.contract,), key="customer", family=Family.SOURCE)


IN, OUT = _topic("bench.received"), _topic("bench.counted")
STAGE = Stage(
    name="bench",
    kind=Kind.FAUST,
    does="counts documents by key",
    reads=(IN,),
    writes=(OUT,),
    process="bench",
    objective=Objective(p95_ms=200),
    state_contracts=(),
)


def codec() -> Codec:
    """The same ids in every process that calls this."""
    made = Codec(InMemory())
    made.warm((IN, *((STAGE.changelog,) if STAGE.changelog else ())))
    return made


class Count:
    """The core."""

    def __init__(self, made: Codec) -> None:
        self._codec = made

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        document = self._codec.decode(record.value, DocumentReceived)
        key = record.key or b""
        count = int(state.get(key) or b"0") + 1
        counted = replace(document, subject=str(count))
        headers = tracing.envelope(
            counted,
            event_id=document.event_id,
            source="/aios/bench",
            subject=document.event_id,
            tenant=document.tenant,
            traceparent=record.header("traceparent") or "",
            time_ms=now_ms,
        )
        return Effects(
            outputs=(Outgoing(OUT.name, key, self._codec.encode(OUT, counted), headers),), changes={key: b"%d" % count}
        )

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:  # noqa: ARG002
        raise StateBroken("this stage sets no timers")


async def main(bootstrap: str, home: Path) -> None:
    settings = Settings(
        home=home,
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        tracing=TracingSettings(sample_ratio=SAMPLED),
    )
    logs.start("bench", 0)
    tracing.start(settings, "bench", 0)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    made = codec()

    def ready() -> None:
        collector.rest()
        print("ready", flush=True)

    await run_stage(STAGE, Count(made), made, settings, slot=0, stop=stop, ready=ready)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
