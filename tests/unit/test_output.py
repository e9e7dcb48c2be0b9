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
