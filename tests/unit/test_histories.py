"""Recorded cases go on as they did: histories replay byte for byte against the code as it is."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from aios.processors.cases.turn import Parsed
from aios.processors.language import workflow_files
from aios.schemas.codec import Codec
from aios.schemas.models import CaseRemembered
from aios.streams.topics import Topic
from aios.streams.topology import PLAN
from tests.fakes.registry import FakeRegistry
from tests.histories import replaying

RECORDED = dict(replaying.recorded())


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_case_is_replayed_byte_for_byte(name: str) -> None:
    """The same events, timers and state after each input; tests/histories says what to do where that is not meant."""
    one: dict[str, Any] = RECORDED[name]
    found = replaying.outputs(one["workflow"], one["inputs"], one["versions"])
    for number, (then, now) in enumerate(zip(one["outputs"], found, strict=True)):
        assert now == then, f"input {number}, {one['inputs'][number]['event']['contract']}, leads elsewhere"


@pytest.mark.parametrize("name", RECORDED)
def test_a_case_is_what_its_bytes_say(name: str) -> None:
    """Down to the kinds of its values: plan keeps what it wrote, and goes on from it as from what it would read."""
    one: dict[str, Any] = RECORDED[name]
    codec, changelog = Codec(FakeRegistry()), cast(Topic, PLAN.changelog)
    codec.warm([changelog])
    for moved in replaying.moves(one["workflow"], one["inputs"], one["versions"]):
        if moved.state is not None:
            assert repr(codec.decode(codec.encode(changelog, moved.state), CaseRemembered)) == repr(moved.state)


@pytest.mark.parametrize("name", RECORDED)
def test_a_case_that_is_kept_parsed_goes_on_as_one_that_is_read(name: str) -> None:
    """What a turn wrote and keeps as values is what its text says, values and order."""
    one: dict[str, Any] = RECORDED[name]
    parsed = Parsed()
    kept = replaying.moves(one["workflow"], one["inputs"], one["versions"], parsed)
    read = replaying.moves(one["workflow"], one["inputs"], one["versions"])
    for now, then in zip(kept, read, strict=True):
        assert now == then
        if now.state is not None:
            said = json.loads(now.state.answers)
            assert list(parsed.answers_of(now.state)) == list(said)
            assert ordered(parsed.answers_of(now.state)) == ordered(said)


def ordered(said: Any) -> Any:
    """Down to the kinds of its values; the fields of a value have no order."""
    if isinstance(said, dict):
        return "fields", sorted((name, ordered(one)) for name, one in said.items())
    return [ordered(one) for one in said] if isinstance(said, list) else repr(said)


def test_every_shipped_version_has_histories() -> None:
    """A version that cases run on is never changed by mistake: `python -m tests.histories.record NAME@VERSION`."""
    assert {each.reference for each in workflow_files.shipped()} <= {one["workflow"] for one in RECORDED.values()}
