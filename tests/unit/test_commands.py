"""The command line as a whole: every noun loads, mistakes have their exit codes, workflows are shown."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from aios.infra.cli import COMMANDS, aios
from aios.infra.commands.bench import BENCHES
from aios.infra.lazy import Lazy
from aios.infra.output import NOT_FOUND, USAGE


@pytest.mark.parametrize("words", [*([name] for name in COMMANDS), *(["bench", name] for name in BENCHES)])
def test_every_command_says_what_it_does(words: list[str]) -> None:
    """It stands where the help says, and its own help begins with a sentence."""
    group: click.Command = aios
    for word in words:
        assert isinstance(group, Lazy)
        found = group.get_command(click.Context(group), word)
        assert found is not None
        group = found
    assert group.help
    assert CliRunner().invoke(aios, [*words, "--help"]).exit_code == 0


def test_a_command_that_is_none_is_wrong_usage() -> None:
    """Of either group."""
    assert CliRunner().invoke(aios, ["upp"]).exit_code == USAGE
    assert CliRunner().invoke(aios, ["bench", "everything"]).exit_code == USAGE


def test_the_shipped_workflow_is_sound_and_shown_with_what_it_owes() -> None:
    """`aios workflow check`, and `show` for people and scripts; a name that is none exits 3."""
    run = CliRunner().invoke
    assert run(aios, ["workflow", "check"]).exit_code == 0
    shown = run(aios, ["workflow", "show", "document.triage"]).stdout
    assert "without a person" in shown
    assert "■ routed" in shown
    (plain,) = json.loads(run(aios, ["workflow", "show", "document.triage", "--json"]).stdout)
    assert set(plain["objectives"]) == {"interactive_p95_s", "bulk_p95_s", "without_person_min"}
    assert plain["steps"]["classify"]["kind"] == "infer"
    assert run(aios, ["workflow", "show", "none"]).exit_code == NOT_FOUND
