"""Cards and figures of the models that ship, as `aios model` shows them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from aios.inference_workers.tasks import CLASSIFIER, WRITER
from aios.infra.commands.model import group, policy
from aios.infra.output import NOT_FOUND
from aios.streams import model_files


@pytest.mark.parametrize("model", [CLASSIFIER, WRITER])
def test_every_model_that_answers_has_a_card(model: str) -> None:
    """It says what the model is for and not for, its licence, its limits, and how it was judged."""
    shown = CliRunner().invoke(group, ["card", model, "--json"])
    assert shown.exit_code == 0
    card = json.loads(shown.stdout)
    assert card["model"] == model
    assert {"licence", "intended_use", "not_for", "data", "how_it_was_judged", "limits"} <= card.keys()


def test_the_figures_on_the_card_are_those_of_the_shipped_thresholds() -> None:
    """Whoever changes a threshold judges again: `aios model train` and `aios model evaluate`."""
    metrics = json.loads(CliRunner().invoke(group, ["card", CLASSIFIER, "--json"]).stdout)["metrics"]
    assert metrics["policy"] == policy()
    assert {"cross_validation", "test", "demo"} <= metrics.keys()


def test_the_shipped_thresholds_keep_what_is_promised() -> None:
    """Letters and messages by cross-validation, strays by the test: shares decided and right, shares caught."""
    metrics = json.loads(CliRunner().invoke(group, ["card", CLASSIFIER, "--json"]).stdout)["metrics"]
    letters, messages = (metrics["cross_validation"][kind] for kind in ("letters", "messages"))
    assert letters["decided"] >= 0.60
    assert letters["decided_right"] >= 0.90
    for judged in (messages, metrics["test"].get("messages", messages)):
        assert judged["decided"] >= 0.85
        assert judged["decided_right"] >= 0.97
    assert metrics["test"]["strays"]["to_a_person"] >= 0.90


def test_a_card_is_shown_with_its_figures() -> None:
    """As people read it."""
    shown = CliRunner().invoke(group, ["card", CLASSIFIER])
    assert "calibration error" in shown.stdout
    assert "demo" in shown.stdout


def test_a_calibration_error_is_shown_with_what_chance_makes_of_so_few_texts() -> None:
    """Of the demo's 80 letters it is no more than that, whichever processor judged them (0.034 or 0.053)."""
    metrics = json.loads(CliRunner().invoke(group, ["card", CLASSIFIER, "--json"]).stdout)["metrics"]
    for split, kind in (("demo", "letters"), ("demo", "messages"), ("test", "intents")):
        assert metrics[split][kind]["calibration_error"] <= metrics[split][kind]["calibration_by_chance"]
    by_chance = metrics["demo"]["letters"]["calibration_by_chance"]
    assert by_chance > 0.053
    shown = CliRunner().invoke(group, ["card", CLASSIFIER]).stdout
    assert f"0.053              {by_chance:.3f}" in shown
    assert "over ten bins, of these n texts" in shown


def test_an_unknown_model_is_no_such_thing() -> None:
    """And it is said which there are."""
    for name in ("nothing@1", "triage-encoder", "triage-encoder@9", "../triage-encoder@1"):
        shown = CliRunner().invoke(group, ["card", name])
        assert shown.exit_code == NOT_FOUND
        assert CLASSIFIER in shown.stderr


RELEASED = {
    "summariser@1": "ae286a9d284869da",
    "triage-encoder@1": "dcf1c6e3c4c25c4e",
    "triage-encoder@2": "4ce716acb8c69219",
}
"""By version, how the digest of its card and heads begins."""


def test_a_released_version_is_what_it_was() -> None:
    """Known answers are kept under its digest, and cards say what was: whoever changes one makes a version."""
    assert {version: model_files.digest(version)[:16] for version in model_files.known()} == RELEASED
