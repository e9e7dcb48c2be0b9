"""What a case waits for while an outside system is away: of its timeline and the circuits alone."""

from __future__ import annotations

from typing import Any

import pytest

from aios.schemas.models import BreakerChanged
from aios.streams import waiting
from tests.fakes.breakers import open_breaker


def move(transition: str, step: str, system: str = "", **detail: str) -> dict[str, Any]:
    said = {"system": system, **detail} if system else {}
    return {"transition": transition, "step": step, "tenant": "acme", "detail": said}


def circuit(key: str, state: str, since: int) -> BreakerChanged:
    return open_breaker("aios.connectors", at=since + 9, key=key, state=state, since=since)


ASKED = [
    move("admitted", ""),
    move("call_requested", "gather/screen", "sanctions"),
    move("call_requested", "gather/read", "documents"),
    move("call_completed", "gather/read", "documents"),
]


def test_only_what_is_asked_and_not_answered_is_waited_for() -> None:
    known = [circuit("system/sanctions", "open", 1_000), circuit("system/documents", "open", 1_000)]
    assert waiting.waits_for(ASKED, known) == [{"system": "sanctions", "since": 1_000}]
    assert waiting.waits_for([*ASKED, move("call_unanswered", "gather/screen", "sanctions")], known) == []
    queued = move("call_queued", "gather/read", "documents")
    assert [one["system"] for one in waiting.waits_for([*ASKED, queued], known)] == ["sanctions", "documents"]
    assert [one["system"] for one in waiting.waits_for([*ASKED, queued], known[:1])] == ["sanctions"], (
        "the other is there"
    )
    twice = move("call_requested", "gather/names", "sanctions")
    assert [one["system"] for one in waiting.waits_for([*ASKED, twice], known)] == ["sanctions"]
    assert waiting.waits_for([queued, move("not_called", "gather/read", "documents")], known) == []


@pytest.mark.parametrize(
    ("known", "since"),
    [
        ([circuit("system/sanctions", "half_open", 1_000)], 1_000),
        ([circuit("system/sanctions", "open", 0)], 9),  # of a process that did not say since when yet
        ([circuit("system/sanctions", "closed", 0)], 0),
        ([circuit("system/sanctions/3", "open", 700), circuit("system/sanctions", "open", 900)], 700),
        ([circuit("system/sanctionsb", "open", 700)], 0),
        ([], 0),
    ],
)
def test_any_process_of_the_system_may_see_it_away(known: list[BreakerChanged], since: int) -> None:
    assert waiting.away_since(waiting.Asked("sanctions"), known) == since


@pytest.mark.parametrize(
    ("key", "since"),
    [
        ("endpoint/webhook/acme/crm", 1_000),
        ("endpoint/webhook/acme/crm/3", 1_000),
        ("endpoint/webhook/acme/crm-2", 0),
        ("endpoint/webhook/other/crm", 0),
        ("endpoint/other/acme/crm", 0),
        ("system/webhook", 1_000),
        ("system/webhook/1", 1_000),
    ],
)
def test_an_endpoint_that_is_away_is_waited_for_by_its_own_tenant(key: str, since: int) -> None:
    """As any process of the system sees it; no other endpoint's circuit is its."""
    told = [move("call_requested", "tell", "webhook", endpoint="crm")]
    found = waiting.waits_for(told, [circuit(key, "open", 1_000)])
    assert found == ([{"system": "webhook", "endpoint": "crm", "since": since}] if since else [])
    queued = move("call_queued", "tell/1", "webhook", endpoint="crm")
    assert len(waiting.waits_for([*told, queued], [circuit(key, "open", 1_000)])) == len(found), "named once"


def test_people_read_since_when() -> None:
    assert (
        waiting.told([{"system": "calendars", "since": 1_764_345_600_000}]) == "calendars since 2025-11-28 16:00:00 UTC"
    )
    to_crm = {"system": "webhook", "endpoint": "crm", "since": 1_764_345_600_000}
    assert waiting.told([to_crm]) == "webhook to crm since 2025-11-28 16:00:00 UTC"
    assert waiting.told([]) == ""
