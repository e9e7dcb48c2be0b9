"""Kinds of requests that were once misread: each kind in many wordings, as people speak to an assistant.

calendar_kinds.txt: a line a request, `text | action | title | people | days | times | scope or rule`, or `text | ask`;
what each means is in infra/demo/data/calendar_truth.md, and so is the moment at which they are said.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from aios.infra.demo.calendar_truth import COUNTED, agree, understood

TABLE = Path(__file__).with_name("calendar_kinds.txt")
COLUMNS = 7
SCOPES = ("one", "next", "all")


def by_kind() -> dict[str, list[list[str]]]:
    kinds: dict[str, list[list[str]]] = {}
    kind = ""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            kind = line.removeprefix("# ")
        elif line.strip():
            kinds.setdefault(kind, []).append([cell.strip() for cell in line.split("|")])
    return kinds


def meant(cells: list[str]) -> dict[str, str]:
    _, action, title, people, days, times, last = [*cells, *[""] * (COLUMNS - len(cells))]
    first, apart, until = days.partition("..")
    start, _, end = times.partition("-")
    return {
        **dict.fromkeys(COUNTED, ""),
        "action": action,
        "title": title,
        "participants": people,
        "date_from": day(first),
        "date_to": day(until if apart else first),
        "time_from": start,
        "time_to": end,
        "scope": last if last in SCOPES else "",
        "repeats": "" if last in SCOPES else last,
    }


def day(said: str) -> str:
    return f"2026-{said}" if len(said) == len("03-24") else said


@pytest.mark.parametrize("kind", by_kind())
def test_a_kind_is_understood_in_every_wording(kind: str) -> None:
    """All that counts is as it was meant; what a person would ask about is asked about."""
    for cells in by_kind()[kind]:
        answer = understood(cells[0])
        if cells[1] == "ask":
            assert answer["missing"], (cells[0], answer)
            continue
        assert not answer["missing"], (cells[0], answer)
        for name, value in meant(cells).items():
            assert agree(name, answer[name], value), (cells[0], name, answer[name], value)
