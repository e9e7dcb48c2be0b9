"""Which questions are the same one: what was answered before is given for those, and for no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aios.inference_workers.cache import key_of
from aios.schemas.models import InferenceRequested

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
