"""Which questions are the same one: what was answered before is given for those, and for no other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aios.inference_workers import answering
from aios.inference_workers.cache import key_of
from aios.inference_workers.engines.engine import Engine
from aios.inference_workers.tasks import CLASSIFIER, Answer, Task
from aios.schemas.models import InferenceRequested
from aios.streams import installed, prompt_files
from aios.streams.record import Record
from aios.streams.wall_clock import wall_ms
from tests.fakes.kept import KeptInMemory

ASKED = InferenceRequested(
    request_id="r",
    case_id="c",
    tenant="demo",
    workflow="document.triage",
    step="brief",
    attempt=1,
    task="generate",
    model="summariser@1",
    prompt="summary@1",
    input="My café bill",
    options='{"tokens_max":24,"head":"letters"}',
    lane="bulk",
    deadline_at=1,
    requested_at=1,
)
BY = {"engine": "vllm 1", "model": "a", "prompt": "b"}


@pytest.mark.parametrize(
    ("asked", "by"),
    [
        ({"tenant": "other"}, {}),
        ({"task": "classify"}, {}),
        ({"model": "summariser@2"}, {}),
        ({"prompt": "summary@2"}, {}),
        ({"input": "My café bill "}, {}),
        ({"options": '{"tokens_max":25,"head":"letters"}'}, {}),
        ({"options": "{}"}, {}),
        ({}, {"engine": "vllm 2"}),
        ({}, {"model": "c"}),
        ({}, {"prompt": "c"}),
        ({}, {"model": "b", "prompt": "a"}),
    ],
)
def test_another_question_is_not_answered_by_what_was_said_before(asked: dict[str, Any], by: dict[str, str]) -> None:
    """Each part of a question, alone."""
    assert key_of(replace(ASKED, **asked), **BY | by) != key_of(ASKED, **BY)


@pytest.mark.parametrize(
    "asked",
    [
        {"request_id": "s", "case_id": "d", "workflow": "kyc.review", "step": "other", "attempt": 2},
        {"lane": "interactive", "priority": 7, "deadline_at": 2, "requested_at": 2, "pool": "generate.interactive"},
        {"options": ' {"head": "letters", "tokens_max": 24}'},
        {"input": "My cafe\u0301 bill"},
    ],
)
def test_the_same_question_is_known_whoever_asks_it_and_when(asked: dict[str, Any]) -> None:
    """Of one tenant: for another case, with its options written otherwise, in another form of the same letters."""
    assert key_of(replace(ASKED, **asked), **BY) == key_of(ASKED, **BY)


@pytest.mark.parametrize(("prompt", "temperature", "kept"), [("", 1.0, True), ("p@1", 0.0, True), ("p@1", 0.1, False)])
def test_what_is_drawn_by_chance_is_drawn_anew(
    prompt: str, temperature: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the model says each time is known from before."""
    sampling = SimpleNamespace(temperature=temperature)
    monkeypatch.setattr(prompt_files, "load", lambda _: SimpleNamespace(sampling=sampling))
    assert answering.is_repeatable(replace(ASKED, prompt=prompt)) is kept


@pytest.mark.parametrize(("failure", "status", "asked"), [("", "ok", 1), ("it is no object", "failed", 2)])
def test_an_answer_that_cannot_be_used_is_asked_for_again(failure: str, status: str, asked: int) -> None:
    """Also one that the model was asked for, and that cost tokens."""
    calls: list[str] = []

    async def answer(request: InferenceRequested, _: int) -> Answer:
        calls.append(request.request_id)
        return Answer(output={}, contract="c", rendered="x", failure=failure, prompt_tokens=3)

    task = SimpleNamespace(model=CLASSIFIER, models={CLASSIFIER: "d"}, serves=("classify",), answer=answer)
    engine = SimpleNamespace(version="v 1")
    pool, known = installed.pools()["classify.bulk"], KeptInMemory()
    answers = answering.Answering(pool, cast(Task, task), cast(Engine, engine), answers=known)
    asks = replace(ASKED, task="classify", model=CLASSIFIER, prompt="", deadline_at=wall_ms() + 60_000)
    record = Record("t", 0, 0, 1, None, b"")

    async def twice() -> list[str]:
        return [(await answers.answer(record, replace(asks, request_id=name))).status for name in "ab"]

    assert asyncio.run(twice()) == [status] * 2
    assert len(calls) == asked
