"""Recorded cases go on as they did: histories replay byte for byte against the code as it is."""

from __future__ import annotations

from typing import Any

import pytest

from aios.processors import workflow_files
from tests.histories import replaying

RECORDED = dict(replaying.recorded())


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_case_is_replayed_byte_for_byte(name: str) -> None:
    """The same events, timers and state after each input; tests/histories says what to do where that is not meant."""
    one: dict[str, Any] = RECORDED[name]
    found = replaying.outputs(one["workflow"], one["inputs"], one["versions"])
    for number, (then, now) in enumerate(zip(one["outputs"], found, strict=True)):
        assert now == then, f"input {number}, {one['inputs'][number]['event']['contract']}, leads elsewhere"


def test_every_shipped_version_has_histories() -> None:
    """A version that cases run on is never changed by mistake: `python -m tests.histories.record NAME@VERSION`."""
    assert {each.reference for each in workflow_files.shipped()} <= {one["workflow"] for one in RECORDED.values()}
