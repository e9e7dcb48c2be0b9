"""Tables show what customers wrote, and do nothing else with it."""

from __future__ import annotations

import json

import pytest

from aios.infra import output

TEXT = "[/red] \x1b[2J\x07 [bold]a[/bold] ä"


def test_a_table_shows_brackets_and_no_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither rich's markup nor the terminal's commands are taken from data."""
    output.rows([{"text": TEXT}], ("text",), as_json=False, none="")
    output.one({"text": TEXT, "many": [TEXT]}, as_json=False)
    shown = capsys.readouterr().out
    assert shown.count("[/red] \\x1b[2J\\x07 [bold]a[/bold] ä") == 3
    assert "\x1b" not in shown


def test_json_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts get the data as it is."""
    output.rows([{"text": TEXT}], ("other",), as_json=True, none="")
    assert json.loads(capsys.readouterr().out) == [{"text": TEXT}]
    output.rows([{"mean": float("nan"), "all": [float("inf"), 1.5]}], (), as_json=True, none="")
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == [{"mean": None, "all": [None, 1.5]}]


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_nothing_is_cut_however_narrow_the_terminal_is(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id is copied from a table, so it stands there whole: in a line, or at the head of its row's own block."""
    monkeypatch.setattr(output, "PIPED_WIDTH", width)
    case, label = "06595203-42fd-5459-be4d-4a4d464e3efd", "direct_debit_payment_not_recognised"
    output.rows(
        [{"case": case, "label": label, "text": "where " * 9 + "is it"}],
        ("case", "label", "text"),
        as_json=False,
        none="",
    )
    shown = capsys.readouterr().out
    assert case in shown
    assert width < len(label) or label in shown
    assert shown.split().count("where") == 9
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= max(width, len(case))
