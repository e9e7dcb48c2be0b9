"""A request with what was asked back and answered, and with a later word."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from aios.processors.meetings import understanding, zones
from aios.processors.meetings.wish import Action, AskBack, Missing, Wish

NOW = zones.moment(date(2026, 3, 24), time(10), zones.zone("Europe/Berlin"))


def test_an_answer_completes_and_a_later_word_changes() -> None:
    """The name that was not clear is replaced, the rest stays; a word that says nothing is asked again."""
    now = datetime.fromtimestamp(NOW, UTC)
    known = Wish(action=Action.SCHEDULE, title="plan", participants=("Ana", "Cleo"), date_from=date(2026, 3, 25))
    asked = AskBack(missing=Missing.PERSON, question="Who?", understood=known, about="Ana")
    done = understanding.complete("plan with Ana and Cleo on 25 March", asked, "Ana Lopez", now, "Europe/Berlin")
    assert isinstance(done, Wish)
    assert set(done.participants) == {"Ana Lopez", "Cleo"}
    moved = understanding.amend("move it to friday at 2pm", known, now, "Europe/Berlin")
    assert isinstance(moved, Wish)
    assert (moved.date_from, moved.time_from, moved.participants) == (date(2026, 3, 27), time(14), ("Ana", "Cleo"))
    assert isinstance(understanding.amend("hm", known, now, "Europe/Berlin"), AskBack)
    hour = understanding.amend(
        "make it 4pm", known.model_copy(update={"date_to": date(2026, 3, 27)}), now, "Europe/Berlin"
    )
    assert isinstance(hour, Wish)
    assert (hour.date_from, hour.date_to, hour.time_from) == (
        None,
        None,
        time(16),
    )  # the day is that on which it stands
    said = understanding.complete("plan with Ana", asked, "nobody at all " * 70, now, "Europe/Berlin")
    assert isinstance(said, Wish)  # a long answer is a name that nobody has, and no error


@pytest.mark.parametrize(
    ("answer", "becomes"),
    [
        ("Friday", {"date_from": date(2026, 3, 27), "date_to": date(2026, 3, 27), "time_from": time(10)}),
        ("on Thursday at 3pm", {"date_from": date(2026, 3, 26), "time_from": time(15)}),
        ("at 11:30, please", {"date_from": date(2026, 3, 25), "time_from": time(11, 30)}),
        ("from 3 to 4 on Friday", {"date_from": date(2026, 3, 27), "time_from": time(15), "time_to": time(16)}),
        ("two hours", {"date_from": date(2026, 3, 25), "duration_min": 120}),
        ("I can't on Friday", None),
        ("an hour later", None),
        ("Monday or Thursday at 3", None),
        ("you choose", None),
    ],
)
def test_a_day_or_a_time_alone_is_an_answer(answer: str, becomes: dict[str, Any] | None) -> None:
    """When shall it be? What denies a day, or counts from what nobody knows, is asked again."""
    now = datetime.fromtimestamp(NOW, UTC)
    text = "meet with Ana tomorrow at 10"
    known = understanding.understand(text, now, "Europe/Berlin")
    assert isinstance(known, Wish)
    asked = AskBack(missing=Missing.MEANING, question="When shall it be?", understood=known)
    said = understanding.complete(text, asked, answer, now, "Europe/Berlin")
    if becomes is None:
        assert said == asked
    else:
        assert isinstance(said, Wish)
        assert said.model_copy(update=becomes) == said
        assert (said.title, said.participants) == ("meeting", ("Ana",))


def test_which_of_several_is_the_one_on_that_day() -> None:
    """What is moved to four is the one on Friday; it is not moved to Friday. What is cancelled is the one on Friday."""
    now = datetime.fromtimestamp(NOW, UTC)
    for text, day in (("move my standup to 4pm", "was_on"), ("cancel my standup", "date_from")):
        known = understanding.understand(text, now, "Europe/Berlin")
        assert isinstance(known, Wish)
        asked = AskBack(missing=Missing.EVENT, question="Which of these is it?", understood=known)
        said = understanding.complete(text, asked, "the one on Friday", now, "Europe/Berlin")
        assert isinstance(said, Wish)
        assert getattr(said, day) == date(2026, 3, 27)
        assert said.time_from == known.time_from


def test_a_later_word_that_forbids_calls_nothing_off() -> None:
    """Do not cancel, or cancel something else: asked about, and the meeting stands."""
    now = datetime.fromtimestamp(NOW, UTC)
    known = Wish(action=Action.SCHEDULE, title="plan", participants=("Ana",), date_from=date(2026, 3, 25))
    others = (
        "remove Bob",
        "drop Bob from it",
        "take Bob out",
        "cancel the room",
        "cancel Tuesday, do Wednesday instead",
    )
    others += ("no need for Bob to come", "cancel Bob's invitation")
    forbidden = ("do not cancel the meeting", "please don't move it to Friday", "never cancel it", "no, keep it")
    for text in (*forbidden, *others):
        assert isinstance(understanding.amend(text, known, now, "Europe/Berlin"), AskBack), text
    for text in ("cancel the meeting", "cancel it", "please delete it", "cancel the plan with Ana", "cancel"):
        off = understanding.amend(text, known, now, "Europe/Berlin")
        assert isinstance(off, Wish), text
        assert off.action is Action.CANCEL
