"""Pools as files: a new one is a file, and what may not be is refused with its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aios.streams import installed, pool_files
from aios.streams.errors import ConfigError
from aios.streams.pool_files import EngineOptions, Pool
from tests.fakes.pools import SMALL, chained, declared

SHIPPED = installed.pools()


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


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"engine_options": {"tensor_parallel": 65}}, r"engine_options\.tensor_parallel"),
        ({"engine_options": {"kv_cache_mib": 1}}, r"engine_options\.kv_cache_mib"),
        ({"engine_options": {"context_tokens": 0}}, r"engine_options\.context_tokens"),
        ({"engine_options": {"engine_mode": "apart"}}, r"engine_options\.engine_mode"),
        ({"engine_options": {"threads": 2}}, "engine_options: unknown key threads"),
        (
            {"engine": "echo", "engine_options": {"context_tokens": 64}},
            "context_tokens: it says nothing to the engine echo",
        ),
        ({"engine": "openai", "engine_options": {"eager": True}}, "eager: it says nothing to the engine openai"),
    ],
)
def test_what_no_engine_may_be_told_is_refused(changed: dict[str, Any], says: str, tmp_path: Path) -> None:
    """With the file and the key, before anything starts."""
    said = SHIPPED["generate.bulk"].model_dump(mode="json") | changed
    (tmp_path / "generate.bulk.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    with pytest.raises(ConfigError, match=says) as caught:
        pool_files.read(tmp_path)
    assert "generate.bulk" in str(caught.value)


def test_pools_of_one_process_tell_its_engine_the_same() -> None:
    """It has one."""
    apart = [SHIPPED["classify.bulk"], SHIPPED["classify.interactive"]]
    apart[0] = apart[0].model_copy(update={"engine_options": EngineOptions(sequences_max=64)})
    with pytest.raises(ConfigError, match=r"share a process .* engine_options"):
        declared(apart)


def test_fallbacks_that_lead_back_are_refused() -> None:
    """Also by way of another pool."""
    back = [
        pool.model_copy(update={"fallback": "classify"} if pool.process == SMALL else {}) for pool in chained().values()
    ]
    with pytest.raises(ConfigError, match="circle"):
        declared(back)
