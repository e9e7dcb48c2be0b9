"""A stage whose inputs grow while it runs: a new one is read without a restart of the process.

Enters: what the stage reads now, asked for again whenever that may have changed. Leaves: one member of its group after
the other, in the same process. Guaranteed: a member ends in good order (what runs is committed, the positions are
told, it leaves its group) before the next one begins with the new inputs, so nothing is lost and nothing repeated: the
state knows the position of every input it has seen, and a new one is read from its beginning. What a change of the
inputs costs is one rebalance of the group, some seconds in which nothing is read.

How several members come over: each follows the same table and begins again by itself. Between the first and the last
one the group has members of two subscriptions; Faust's assignor gives each topic to those alone that read it, so that a
partition number can be split between an old member and a new one. Such a partition is read by nobody (app.py) until
the last member has come over; a member that stands so for MIXED_S_MAX leaves the group and joins it again.

Rejected: a subscription by pattern (the names are the domain teams'); a restart of the process (a container counts it
as a crash); aiokafka's subscribe() on a running member (Faust's conductor, the lanes and their stores would have to
change under records in hand).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aios.processors.stateful import member
from aios.processors.stateful.state import Core
from aios.schemas.codec import Codec
from aios.streams.config import Settings
from aios.streams.topology import Stage

log = logging.getLogger(__name__)


async def run(
    stage_now: Callable[[], Stage],
    changed: asyncio.Event,
    core: Core,
    codec: Codec,
    settings: Settings,
    *,
    slot: int,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Until `stop`, as member.run_stage.

    stage_now: the stage with the inputs it has now; they never become fewer. changed: set when they may have grown.
    """
    first = [ready]
    while not stop.is_set():
        stage, again = stage_now(), asyncio.Event()
        log.info("reads %s", ", ".join(topic.name for topic in stage.reads))
        watching = asyncio.create_task(_watch(stage, stage_now, changed, again))
        try:
            await member.run_stage(
                stage,
                core,
                codec,
                settings,
                slot=slot,
                stop=stop,
                again=again,
                ready=lambda: first.pop()() if first else None,
            )
        finally:
            watching.cancel()


async def _watch(stage: Stage, stage_now: Callable[[], Stage], changed: asyncio.Event, again: asyncio.Event) -> None:
    while stage_now().reads == stage.reads:
        changed.clear()
        await changed.wait()
    log.info("there are new inputs")
    again.set()
