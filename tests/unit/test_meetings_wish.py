"""What a request means: the labelled truth fits the values, and they survive the way between the steps of a case."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aios.infra import demo
from aios.processors.meetings.wish import Action, AskBack, Bound, Missing, Prefer, Wish

TRUTH = Path(demo.__file__).parent / "data" / "calendar_truth.csv"
FIELDS = ("title", "place", "date_from", "date_to", "time_from", "time_to", "duration_min", "repeats", "scope")


def wish_of(row: dict[str, str]) -> Wish:
    said: dict[str, Any] = {name: row[name] for name in FIELDS if row[name]}
    people = tuple(name.strip() for name in row["participants"].split(";") if name.strip())
    return Wish(action=Action(row["action"]), participants=people, **said)


def test_every_labelled_request_is_a_wish_or_a_question() -> None:
    """Whatever a reader understood can be said with these values, and comes back from JSON as it was."""
    with TRUTH.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 150
    for row in rows:
        understood = wish_of(row) if row["action"] else None
        if row["resolvable"] == "yes":
            assert understood is not None
            assert Wish.model_validate_json(understood.model_dump_json()) == understood
        else:
            asked = AskBack(missing=Missing(row["missing"]), question="?", understood=understood)
            assert AskBack.model_validate_json(asked.model_dump_json()) == asked


def test_bounds_on_other_clocks_survive() -> None:
    """ "Not before 9 their time" is kept with whose time it is."""
    bounds = (Bound(whose="the Berlin team", not_before="09:00"),)
    wish = Wish(action=Action.SCHEDULE, duration_min=60, bounds=bounds, prefer=Prefer.EARLY)
    assert Wish.model_validate_json(wish.model_dump_json()) == wish


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "schedule", "date_from": "2026-03-25", "date_to": "2026-03-24"},
        {"action": "schedule", "scope": "all"},
        {"action": "schedule", "repeats": "every day"},
        {"action": "schedule", "duration_min": 0},
        {"action": "schedule", "wish": "x"},
    ],
)
def test_what_contradicts_itself_is_no_wish(wrong: dict[str, Any]) -> None:
    """A window that ends before it begins, a scope of a meeting to come, a rule in words: refused."""
    with pytest.raises(ValidationError):
        Wish.model_validate(wrong)
