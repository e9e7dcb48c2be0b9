"""What the watch measures, where the state in Valkey is another one."""

from __future__ import annotations

import asyncio
from typing import Any

from aios.sinks import watch
from aios.sinks.drift import Kind, Series
from aios.sinks.watch_state import State
from aios.streams.config import WatchSettings

LIMITS = WatchSettings()
nobody: Any = None


class Kept:
    """A store whose state is what a test says."""

    def __init__(self) -> None:
        self.epoch = ""
        self.state: dict[str, str] = {}

    async def ensure(self, _everything: object) -> None:
        """Valkey is as it is."""

    async def fields(self) -> dict[str, str]:
        return self.state

    def holds(self, epoch: str, *subjects: str) -> None:
        state = State(LIMITS)
        for subject in subjects:
            state.series[subject, "labels"] = Series(Kind.LABELS, windows=1, distance=0.5, moved=True)
            state.changed.add(f"series:labels:{subject}")
        self.epoch, self.state = epoch, state.written()


def shown() -> dict[str, float]:
    """Subjects that are said to have moved."""
    (metric,) = watch.MOVED.collect()
    return {sample.labels["subject"]: sample.value for sample in metric.samples}


def test_what_is_in_the_state_no_more_is_not_said_to_have_moved() -> None:
    """Valkey was emptied, and the topics do not reach back to a model that answered long ago."""
    store: Any = Kept()
    sink = watch.Sink(nobody, store, nobody, nobody, nobody, LIMITS, nobody)
    store.holds("1", "model:old@1/w", "model:new@1/w")
    asyncio.run(sink.ensure())
    assert shown() == {"model:old@1/w": 1.0, "model:new@1/w": 1.0}
    store.holds("2", "model:new@1/w")
    asyncio.run(sink.ensure())
    assert shown() == {"model:new@1/w": 1.0}
