"""Pools as files: a new one is a file, and what may not be is refused with its name."""

from __future__ import annotations

from typing import Any

import pytest

from aios.streams import pool_files
from aios.streams.errors import ConfigError
from aios.streams.pool_files import Pool
from tests.fakes.pools import SMALL, chained, declared

SHIPPED = pool_files.shipped()


def changed(process: str, **fields: Any) -> list[Pool]:
    """The shipped ones; both lanes of a process with other fields."""
    return [pool.model_copy(update=fields if pool.process == process else {}) for pool in SHIPPED.values()]


def test_a_file_more_is_a_pool_more() -> None:
    """It is read beside the others, interactive first; each lane falls back to the same lane, and then to nobody."""
    assert declared(SHIPPED.values()) == SHIPPED
    found = chained()
    assert found.keys() == {*SHIPPED, f"{SMALL}.interactive", f"{SMALL}.bulk"}
    for lane in ("interactive", "bulk"):
        chain = pool_files.chain(found, f"classify.{lane}")
        assert [one.pool for one in chain] == [f"classify.{lane}", f"{SMALL}.{lane}"]
        assert [one.pool for one in pool_files.chain(found, f"generate.{lane}")] == [f"generate.{lane}"]


@pytest.mark.parametrize(
    ("pools", "says"),
    [
        (changed("classify", fallback="generate"), "no pool generate.* for the task classify"),
        (changed("classify", fallback="nobody"), "no pool nobody"),
        (changed("classify", fallback="classify"), "circle"),
        ([SHIPPED["classify.bulk"], SHIPPED["classify.interactive"].model_copy(update={"model": "other"})], "share"),
    ],
    ids=["another task", "nobody", "circle", "two models in a process"],
)
def test_what_may_not_be_declared_is_refused(pools: list[Pool], says: str) -> None:
    """A fallback of another task, to nobody or in a circle; a process with two models."""
    with pytest.raises(ConfigError, match=says):
        declared(pools)


def test_fallbacks_that_lead_back_are_refused() -> None:
    """Also by way of another pool."""
    back = [
        pool.model_copy(update={"fallback": "classify"} if pool.process == SMALL else {}) for pool in chained().values()
    ]
    with pytest.raises(ConfigError, match="circle"):
        declared(back)
