"""Words about a calendar: what is read is what was said, and what was not said is asked for."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from aios.infra.demo import calendar_truth
from aios.infra.demo.calendar_truth import Half
from aios.processors.meetings.wish import AskBack, Wish
from aios.processors.meetings.words import read

ZONE = "Europe/Berlin"
NOW = datetime(2026, 3, 24, 10, tzinfo=ZoneInfo(ZONE))


@given(st.text(max_size=300))
def test_any_text_is_read_or_asked_about(text: str) -> None:
    """No text raises, and reading twice gives the same answer."""
    answer = read(text, NOW, ZONE)
    assert isinstance(answer, Wish | AskBack)
    assert read(text, NOW, ZONE) == answer


def test_what_was_looked_at_while_writing_is_understood() -> None:
    """On the half that the rules were written with: at least 0.95 understood, nothing guessed."""
    found = calendar_truth.evaluate(Half.DEV)
    assert found.right >= 0.95 * found.resolvable
    assert found.asked_back == found.unresolvable
