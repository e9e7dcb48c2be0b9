"""Requests answered outside of the pipeline, in the workers' environment, by the engine without a model."""

from __future__ import annotations

import click
import pytest

from aios.infra import rehearsing
from aios.infra.rehearsing import Request

LETTER = "My card 77 was charged twice, please refund it."


def ask(name: str, prompt: str, text: str = LETTER) -> Request:
    return Request(id=name, task="generate", model="summariser@1", prompt=prompt, input=text)


def test_every_request_has_its_answer_and_a_bad_one_fails_alone() -> None:
    """By id: text, tokens and why not; the engine says what it is."""
    requests = [ask("good", "summary@1"), ask("unknown", "nothing@1"), ask("empty", "summary@2", " ")]
    engine, answers = rehearsing.ask("generate", requests, "echo")
    assert engine.startswith("echo")
    assert answers["good"]["status"] == "ok"
    assert LETTER.split(maxsplit=1)[0] in answers["good"]["output"]["text"]
    assert answers["good"]["prompt_tokens"] > 5
    assert (answers["unknown"]["status"], answers["empty"]["status"]) == ("failed", "failed")
    assert "there is no prompt" in answers["unknown"]["reason"]
    assert "0 words" in answers["empty"]["reason"]


def test_an_engine_that_cannot_start_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own words, and not with half of the answers."""
    monkeypatch.setenv("AIOS_INFERENCE__URL", "")
    with pytest.raises(click.exceptions.Exit):
        rehearsing.ask("generate", [ask("good", "summary@1")], "openai")
