"""What a lane holds of its partition is bounded, whatever its records are made of."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from aios.processors.lanes import HELD_BYTES_MAX, HELD_RECORDS_MAX, Lane
from aios.processors.store import Batch
from tests.broker.stages import Raw


def records(count: int, **fields: Any) -> list[Raw]:
    return [Raw("t", 0, offset, 1, **{"key": None, "value": None} | fields) for offset in range(count)]


@pytest.mark.parametrize(
    ("held", "full"),
    [
        (records(10, value=b"v"), False),
        (records(HELD_RECORDS_MAX), True),
        (records(2, value=b"v" * (HELD_BYTES_MAX // 2)), True),
        (records(2, key=b"k" * (HELD_BYTES_MAX // 2)), True),
        (records(2, headers=(("h", b"v" * (HELD_BYTES_MAX // 2)),)), True),
        (records(1, headers=(("h", b""),) * (HELD_BYTES_MAX // 100)), True),
    ],
    ids=["little", "many", "values", "keys", "headers", "small headers"],
)
def test_a_full_lane_is_not_read_for(held: list[Raw], full: bool) -> None:
    """By number, and by the bytes of values, keys and headers."""

    async def check() -> None:
        with ThreadPoolExecutor(1) as pool:
            lane = Lane(cast(Any, None), "t", 0, pool, asyncio.Event())
            lane.give(Batch("t", 0, 0, held, len(held)))
            assert lane.full is full

    asyncio.run(check())
