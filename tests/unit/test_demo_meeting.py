"""What the demo of meetings counts at the calendar server: whatever is not as it must be is a failure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import click
import pytest
from rich.console import Console

from aios.infra.demo import meeting
from aios.infra.demo.diaries import Entry

BOOKED = Entry("ana", "c1", is_confirmed=True)
THEIRS = Entry("ana", "", is_confirmed=True)


@pytest.mark.parametrize(
    ("entries", "is_sound"),
    [
        ([BOOKED, THEIRS], True),
        ([BOOKED, replace(BOOKED, calendar="ben")], True),
        ([BOOKED, BOOKED], False),
        ([replace(BOOKED, is_confirmed=False)], False),
        ([THEIRS], False),
        ([BOOKED, replace(BOOKED, case="c2")], False),
    ],
    ids=["booked", "two who take part", "twice", "held", "missing", "called off and still there"],
)
def test_what_stands_in_calendars_is_what_became_of_the_requests(entries: Sequence[Entry], *, is_sound: bool) -> None:
    """One is booked, another was called off."""
    request = meeting.REQUESTS[0]
    became = {"c1": {"status": "booked"}, "c2": {"status": "decided", "outcome": "called_off"}}
    courses = [meeting.Course(request, case, dict(seen)) for case, seen in became.items()]
    with nullcontext() if is_sound else pytest.raises(click.exceptions.Exit):
        meeting._judge(Console(quiet=True), courses, entries)
