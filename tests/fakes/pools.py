"""Pools as files declare them: what may not stand in a file is no pool here either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from aios.streams import installed, pool_files
from aios.streams.pool_files import Pool, Price

SMALL = "small"  # labels too, with a model of its own, at half the price


def declared(pools: Iterable[Pool]) -> Mapping[str, Pool]:
    """Written to files, and read back. Raises ConfigError where they may not be."""
    with TemporaryDirectory() as folder:
        for pool in pools:
            said = yaml.safe_dump(pool.model_dump(mode="json"))
            (Path(folder) / f"{pool.pool}.yaml").write_text(said, encoding="utf-8")
        return pool_files.read(Path(folder))


@lru_cache(maxsize=1)
def chained() -> Mapping[str, Pool]:
    """The shipped ones, and SMALL, which is asked where `classify` cannot answer; after it a person is."""
    shipped = installed.pools().values()
    first = [pool for pool in shipped if pool.process == "classify"]
    others = [pool for pool in shipped if pool.process != "classify"]
    return declared(
        [
            *others,
            *(pool.model_copy(update={"fallback": SMALL}) for pool in first),
            *(small(pool) for pool in first),
        ]
    )


def by_the_second(pools: Mapping[str, Pool], micro: int) -> Mapping[str, Pool]:
    """These, each paid by its engine's time alone."""
    price = Price(per_1000_prompt_tokens=0, per_1000_output_tokens=0, per_engine_second=micro)
    return {name: pool.model_copy(update={"price": price}) for name, pool in pools.items()}


def small(pool: Pool) -> Pool:
    """What stands in for this one."""
    halved = Price(**{name: micro // 2 for name, micro in pool.price.model_dump().items()})
    return pool.model_copy(update={"pool": f"{SMALL}.{pool.lane}", "model": "summariser", "price": halved})
