"""`aios publish`: the file of rejected rows holds rows and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from aios.infra.commands import publish as publishing
from aios.infra.commands.publish import Done

ROW = b'{"line": 2, "reason": "text: missing", "row": {}}\n'


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    return SimpleNamespace(rejected_file=tmp_path / "in.csv.rejected.jsonl", tenant="demo", workflow="document.triage")


def test_a_file_of_rejected_rows_that_was_moved_begins_anew(plan: Any) -> None:
    """The rows behind those that were rejected before, without a hole for these."""
    with publishing._rejected(plan, Done(rows=9, rejected=3, rejected_bytes=3 * len(ROW))) as rejected:
        rejected.write(ROW)
    assert plan.rejected_file.read_bytes() == ROW


def test_one_that_is_there_is_gone_on_with(plan: Any) -> None:
    """Behind what the broker has of it; what an interrupted run wrote beyond that is written again."""
    plan.rejected_file.write_bytes(ROW + b"half a r")
    with publishing._rejected(plan, Done(rows=9, rejected=1, rejected_bytes=len(ROW))) as rejected:
        rejected.write(ROW)
    assert plan.rejected_file.read_bytes() == ROW + ROW


def test_a_moved_file_is_not_named_where_nothing_more_is_rejected(
    plan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """None is left that would be empty; the command says how it comes back."""
    done = Done(rows=9, rejected=3, rejected_bytes=3 * len(ROW))
    with publishing._rejected(plan, done):
        pass
    assert not plan.rejected_file.exists()
    with pytest.raises(click.exceptions.Exit):
        publishing._tell(plan, 9, done, as_json=True)
    said = capsys.readouterr()
    assert '"rejected_file": null' in said.out
    assert "3 rows were rejected: their file is gone, --from-start writes it again" in said.err
