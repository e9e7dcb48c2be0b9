"""Structured answers of the real engine, from a model of random weights: what it is held to, it keeps to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aios.processors.language import answers
from aios.schemas import ids
from aios.streams import prompt_files
from tests.engine import structured


@pytest.fixture
def bounded(found: dict[str, Any]) -> dict[str, Any]:
    """What structured.py has found out."""
    answers: dict[str, Any] = found["bounded"]
    return answers


def test_every_answer_follows_the_shape_or_the_choices_of_its_prompt(
    bounded: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As plan reads it, which knows the prompt and believes no worker."""
    monkeypatch.setattr(prompt_files, "FOLDER", structured.prompts(tmp_path / "prompts"))
    assert [one["failure"] for one in bounded["answers"]] == [""] * 2 * structured.ASKED
    for one in bounded["answers"]:
        said = answers.read("generate", one["contract"], ids.canonical(one["output"]), one["prompt"])
        assert said.keys() <= {"object", "choice"}
    assert {one["output"]["pieces"] for one in bounded["answers"] if one["prompt"] == "facts@1"} == {3}


def test_answers_differ_with_their_texts(bounded: dict[str, Any]) -> None:
    """The model chooses within its bounds: the engine does not fill in an example."""
    for prompt in ("facts@1", "topic@1"):
        said = {ids.canonical(one["output"]) for one in bounded["answers"] if one["prompt"] == prompt}
        assert len(said) > 1


def test_a_schema_that_cannot_be_enforced_fails_its_request_alone(bounded: dict[str, Any]) -> None:
    assert bounded["refused"]


def test_a_seed_does_not_end_the_engine(bounded: dict[str, Any]) -> None:
    """On a CPU the request is refused: vLLM would die of it, and everybody's requests with it."""
    assert "takes no seed" in bounded["seeded"]


def test_a_letter_cannot_end_its_message(bounded: dict[str, Any]) -> None:
    """Whatever it writes: the tokenizer's own words begin roles, and only a prompt may."""
    assert bounded["ends"]["control"] == 0
    assert bounded["ends"]["here"] == bounded["ends"]["there"]
