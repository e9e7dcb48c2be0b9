"""What a process may ask of a system, by the partitions that it has."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from aios.processors.connectors import serving
from aios.processors.connectors.gate import Gate
from aios.streams import installed
from aios.streams.system_files import Limits
from aios.streams.topology import connecting

SYSTEM = installed.systems()["webhook"]
STAGE = connecting(SYSTEM)
PARTITIONS = 6
PLACES = [(topic.name, number) for topic in STAGE.inputs for number in range(PARTITIONS)]


@given(st.lists(st.integers(0, 4), min_size=len(PLACES), max_size=len(PLACES)))
def test_all_processes_together_have_the_limits_once_and_none_goes_without(owners: list[int]) -> None:
    shares = []
    for process in set(owners):
        own = [place for place, owner in zip(PLACES, owners, strict=True) if owner == process]
        shares.append(serving.share_of(STAGE, own, PARTITIONS))
    assert abs(sum(shares) - 1) < 1e-9
    assert min(shares) > 0.03


def test_what_returned_to_a_process_that_has_nothing_else_is_called() -> None:
    """As the second process of a stage is given its partitions: all that it gets are those of one topic."""
    share = serving.share_of(STAGE, [(STAGE.retries.name, number) for number in range(PARTITIONS)], PARTITIONS)

    async def work() -> int:
        system = SYSTEM.model_copy(update={"limits": Limits(calls_max=8, rate_per_s=100)})
        gate = Gate(system, lambda *_: None, share=lambda: share)
        asked = [asyncio.create_task(gate.enter(gate._clock() + 1.0, lambda: True)) for _ in range(20)]
        called = 0
        for one in asyncio.as_completed(asked):
            permit = await one
            if permit is not None:
                called += 1
                gate.succeed(permit)
        return called

    assert asyncio.run(work()) == 20
