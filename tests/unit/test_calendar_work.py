"""The work of the system `calendars` that needs no server: words on their clock, and names that are people."""

from __future__ import annotations

from datetime import date, time

import pytest

from aios.processors.connectors.calendar_parts import UnderstandRequest
from aios.processors.connectors.calendar_work import _understand, _with_people
from aios.processors.meetings import directory, zones
from aios.processors.meetings.wish import Action, Wish

COMPANY = directory.read(
    {
        "people": [
            {"id": "ben", "name": "Ben Weiss", "zone": "Europe/Berlin", "calendar": "b"},
            {"id": "ana", "name": "Ana Park", "zone": "Europe/Madrid", "calendar": "a"},
        ]
    }
)
NOW = zones.moment(date(2026, 3, 24), time(10), zones.zone("Europe/Berlin"))


@pytest.mark.parametrize(
    ("text", "zone", "on"),
    [
        ("meet Ana tomorrow at 3pm", "America/New_York", "America/New_York"),
        ("meet Ana tomorrow at 3pm Tokyo time", "America/New_York", "Asia/Tokyo"),
        ("meet Ana tomorrow at 3pm", "Europe/Berlin", ""),
        ("meet Ana tomorrow at 3pm", "", ""),
    ],
)
def test_words_are_meant_on_the_clock_of_the_request(text: str, zone: str, on: str) -> None:
    """Three in New York, where who asks is this week, is not three at home; what the words say comes first."""
    request = UnderstandRequest(text=text, organiser="ben", time_zone=zone, sent_at=NOW * 1000)
    wish = _understand(request, COMPANY).wish
    assert wish is not None
    assert (wish.zone, wish.time_from) == (on, time(15))


@pytest.mark.parametrize(
    ("action", "title", "people"),
    [
        (Action.SCHEDULE, "ana", ("ana",)),
        (Action.SCHEDULE, "ana and ben weiss", ("ana", "ben weiss")),
        (Action.SCHEDULE, "ana's birthday", ()),
        (Action.SCHEDULE, "park", ()),
        (Action.SCHEDULE, "", ()),
        (Action.REMIND, "ana", ()),
    ],
)
def test_what_is_called_by_names_alone_is_a_meeting_with_them(action: Action, title: str, people: tuple[str]) -> None:
    """Schedule ana for tomorrow, without a capital."""
    wish = _with_people(Wish(action=action, title=title), COMPANY)
    assert wish.participants == people
    assert wish.title == ("meeting" if people else title)
