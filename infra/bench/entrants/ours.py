"""Our stateful stage with the peers' work as its core: a program of `aios bench peers` and `aios bench laws`.

Everything around the core is the product's: Faust, the fenced store, settling, marks of deaths, spans, metrics and a
resting collector.
Settings by environment, see race.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from pathlib import Path

from aios.infra.bench.entrants.wire import decode, encode
from aios.processors.stateful.member import run_stage
from aios.processors.stateful.state import Effects, StateView
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.registry import InMemory
from aios.streams import collector, logs, tracing
from aios.streams.config import KafkaSettings, Settings, TracingSettings
from aios.streams.errors import StateBroken
from aios.streams.record import Outgoing, Record
from aios.streams.topics import Family, Topic
from aios.streams.topology import Kind, Objective, Stage

STATE = struct.Struct(">qd")
SAMPLED = 0.01  # of the traces


def stage_of(name: str, source: str) -> Stage:
    """A stage that is not in the topology. name: its group's, without `aios.`."""
    return Stage(
        name=name,
        kind=Kind.FAUST,
        does="a running mean by key",
        reads=(Topic(name=source, contracts=(), key="user", family=Family.SOURCE),),
        process=name,
        objective=Objective(p95_ms=200),
        state_contracts=(),
    )


class Mean:
    """The core."""

    def __init__(self, target: str) -> None:
        self._target = target

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:  # noqa: ARG002 - a mean needs no time
        try:
            scored = decode(record.value or b"")
        except ValueError as error:
            raise SchemaMismatch("not the bytes of a score") from error
        key = record.key or b""
        before = state.get(key)
        count, total = STATE.unpack(before) if before is not None else (0, 0.0)
        count, total = count + 1, total + scored["score"]
        scored["score"] = total / count
        return Effects(outputs=(Outgoing(self._target, key, encode(scored)),), changes={key: STATE.pack(count, total)})

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:  # noqa: ARG002
        raise StateBroken(f"this stage sets no timers, and {timer_id} is due")


async def main() -> None:
    name = os.environ["GROUP"].removeprefix("aios.")
    stage = stage_of(name, os.environ["IN"])
    settings = Settings(
        home=Path(os.environ["FOLDER"]),
        kafka=KafkaSettings(bootstrap_servers=os.environ["BROKER"]),
        tracing=TracingSettings(sample_ratio=SAMPLED),
    )
    logs.start(name, 0)
    tracing.start(settings, name, 0)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    codec = Codec(InMemory())
    codec.warm((stage.changelog,) if stage.changelog else ())
    await run_stage(stage, Mean(os.environ["OUT"]), codec, settings, slot=0, stop=stop, ready=collector.rest)


if __name__ == "__main__":
    asyncio.run(main())
