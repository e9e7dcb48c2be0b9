"""Intake and delivery in memory, with what a broker would have seen; tests/broker/ runs the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from aios.streams.errors import Unavailable
from aios.streams.kafka import Place
from aios.streams.record import Outgoing, Record


@dataclass
class FakeRoads:
    """The intake of one group and the delivery beside it. happened: ('delivered' | 'finished' | 'paused', what)."""

    records: Sequence[Record]
    in_flight_max: int = 8
    away: int = 0  # deliveries that fail before one succeeds
    happened: list[tuple[str, object]] = field(default_factory=list)
    taken: list[Record] = field(default_factory=list)
    finished: list[Record] = field(default_factory=list)
    delivered: list[Outgoing] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)  # offsets whose partition has left
    in_flight: dict[int, Record] = field(default_factory=dict)
    in_flight_seen: int = 0
    any_finished: asyncio.Event = field(default_factory=asyncio.Event)
    all_ended: asyncio.Event = field(default_factory=asyncio.Event)
    none_in_flight: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        pass

    async def take(self, records_max: int, *, wait_ms_max: int) -> list[Record]:
        room = min(records_max, self.in_flight_max - len(self.in_flight))
        batch = list(self.records[len(self.taken) : len(self.taken) + max(0, room)])
        self.taken += batch
        if batch:
            self.none_in_flight.clear()
        self.in_flight |= {id(record): record for record in batch}
        self.in_flight_seen = max(self.in_flight_seen, len(self.in_flight))
        if not batch:
            await asyncio.sleep(wait_ms_max / 100_000)
        return batch

    def finish(self, record: Record, cost: int | None = None) -> None:
        self.happened.append(("finished", record.offset))
        self.finished.append(record)
        self.any_finished.set()
        self._land(record)

    def release(self, record: Record) -> None:
        self._land(record)

    def position(self, topic: str, partition: int) -> int | None:
        """The lowest record of it that is not finished."""
        done = {(one.partition, one.offset) for one in self.finished}
        of = [one for one in self.records if (one.topic, one.partition) == (topic, partition)]
        left = [one.offset for one in of if (one.partition, one.offset) not in done]
        return min(left, default=max((one.offset + 1 for one in of), default=None))

    def lag(self) -> dict[tuple[str, int], int]:
        return {("t", 0): len(self.records) - len(self.finished)}

    def owns(self, record: Record) -> bool:
        return id(record) in self.in_flight and record.offset not in self.lost

    def pause(self, topic: str, partition: int, for_ms: int) -> None:
        self.happened.append(("paused", (topic, partition)))
        for record in [r for r in self.in_flight.values() if (r.topic, r.partition) == (topic, partition)]:
            self._land(record)

    async def drain(self, s_max: float) -> None:
        if self.in_flight:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.none_in_flight.wait(), s_max)

    async def close(self, drain_s_max: float) -> None:
        await self.drain(drain_s_max)

    async def deliver_all(self, outs: Sequence[Outgoing]) -> list[Place]:
        await asyncio.sleep(0)
        if self.away:
            self.away -= 1
            raise Unavailable("the fake broker is away")
        self.delivered += outs
        self.happened += [("delivered", out.topic) for out in outs]
        return [Place(out.topic, 0, 0, 0) for out in outs]

    def _land(self, record: Record) -> None:
        self.in_flight.pop(id(record), None)
        if not self.in_flight:
            self.none_in_flight.set()
        if not self.in_flight and len(self.taken) == len(self.records):
            self.all_ended.set()
