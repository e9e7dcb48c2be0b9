"""The real engine with a model of no sense: bad, late, urgent and endless requests, and the engine's own end."""

from __future__ import annotations

from typing import Any

import pytest


def test_one_poisoned_prompt_among_64_fails_alone(found: dict[str, Any]) -> None:
    """It is refused; the other 63 are answered."""
    assert found["poison"].pop("refused") == 1
    assert sum(found["poison"].values()) == 63


def test_the_engines_time_is_charged_to_who_had_it(found: dict[str, Any]) -> None:
    """Together they pay for what it was busy; the first token comes after the question and before the end."""
    seen = found["charged"]
    assert seen["charged_s"] == pytest.approx(seen["busy_s"], rel=0.1)
    assert 0 < seen["first_ms_min"] <= seen["first_ms_max"] < seen["took_ms"]
    assert seen["tokens"] >= 20


def test_who_gives_up_leaves_the_engine(found: dict[str, Any]) -> None:
    """Cancelled, and late: nothing goes on computing for nobody, and what it took until then was counted."""
    assert found["cancelled"] == {"late": True, "left": 0, "counted": True}


def test_who_waits_finds_a_seat_in_a_full_batch(found: dict[str, Any]) -> None:
    """Three batches of long bulk answers: the urgent one is answered before any of them has ended."""
    assert found["urgent"]["first"] == "urgent"
    assert found["urgent"]["running_max"] >= 8


def test_a_shared_beginning_is_computed_once(found: dict[str, Any]) -> None:
    """Of sixteen prompts with the same long beginning most tokens are found in the cache."""
    assert found["prefix"]["hits"] > 0.5 * found["prefix"]["queries"]


def test_an_engine_that_hangs_ends_its_process(found: dict[str, Any]) -> None:
    """A step that never ends is noticed within step_s_max and a moment."""
    assert "it hangs" in found["hung"]["said"]
    assert found["hung"]["after_s"] < 15


def test_a_cache_without_room_names_the_setting(found: dict[str, Any]) -> None:
    """What to set, and to which side."""
    assert "inference.kv_cache_mib" in found["no_room"]
    assert "higher" in found["no_room"]


def test_the_engine_says_how_much_room_it_has(found: dict[str, Any]) -> None:
    """In tokens of its KV cache: what admission is bounded by."""
    assert found["tokens_max"] >= 1024
