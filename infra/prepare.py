"""Topics and contracts of a deployment on many machines: `python -m aios.infra.prepare`; `aios up` does so by itself.

Enters: settings with the addresses of Kafka and the registry. Leaves: every topic of the topology, every contract under
its subjects; exit 0. Guaranteed: what is there is left as it is, so that it may run again, after an upgrade too; what
does not fit (another number of partitions or cleanup.policy, a contract that old readers cannot read) is refused by
name, exit 1.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from aios.schemas.registry import register_all
from aios.streams import config, logs, topology
from aios.streams.admin import ensure_topics
from aios.streams.config import Settings
from aios.streams.errors import AiosError, Unavailable

PATIENCE_S = 120.0  # with a Kafka and a registry that start at the same time
AGAIN_S = 0.5

log = logging.getLogger("aios.infra.prepare")
T = TypeVar("T")


def main() -> None:
    logs.start("prepare", 0)
    try:
        asyncio.run(_prepare(config.load()))
    except AiosError as error:
        log.error("%s", error)  # noqa: TRY400 - it says what is wrong by itself
        sys.exit(1)


async def _prepare(settings: Settings) -> None:
    declared = topology.all_topics().values()
    created = await patiently(lambda: asyncio.run(ensure_topics(settings.kafka, declared)), PATIENCE_S)
    ids = await patiently(lambda: register_all(settings.registry.url, declared), PATIENCE_S)
    log.info("%d topics created, %d were there; %d subjects", len(created), len(declared) - len(created), len(ids))


async def patiently(do: Callable[[], T], s_max: float) -> T:
    """Its result; what is only just there may not answer at once. Raises Unavailable after s_max."""
    deadline = time.monotonic() + s_max
    while True:
        try:
            return await asyncio.to_thread(do)
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(AGAIN_S)


if __name__ == "__main__":
    main()
