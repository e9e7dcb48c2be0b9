"""POST /v1/reviews/{task_id}/claim and /release: a reviewer has a question in hand, and the others see it.

Enters: a question, a reviewer's token. Leaves: the claim; a decision by somebody else is refused while it holds
(http_api.py). What a claim is, and is not: review_claims.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from aiohttp import web
from pydantic import BaseModel

from aios.schemas.models import PrincipalRegistered
from aios.streams.http_about import json_answer
from aios.streams.http_problem import Problem
from aios.streams.openapi import Caller, Route
from aios.streams.outcome_store import ReviewView
from aios.streams.review_claims import LEASE_S, Claim


class Claims(Protocol):
    """OutcomeStore in service; see review_claims.py. Every call raises Unavailable when it does not answer."""

    async def claim(self, task_id: str, by: str) -> Claim: ...
    async def release(self, task_id: str, by: str) -> Claim | None: ...


class ReviewClaimed(BaseModel):
    """claimed_by, claimed_until: as the question shows them from now on; Unix ms. Empty and 0: nobody has it."""

    task_id: str
    case_id: str
    claimed_by: str
    claimed_until: int


class ClaimsApi(ABC):
    """The handlers; part of the gateway's Api."""

    _claims: Claims

    async def claim_review(self, request: web.Request, reviewer: PrincipalRegistered) -> web.Response:
        task = await self._review(request, reviewer.tenants)
        await self._may_answer(task, reviewer.name)
        held = await self._claims.claim(task.task_id, reviewer.name)
        refuse_claimed(task, held, reviewer.name)
        await self._note_opened(task, reviewer.name, request)
        return _answer(task, held)

    async def release_review(self, request: web.Request, reviewer: PrincipalRegistered) -> web.Response:
        task = await self._review(request, reviewer.tenants)
        held = await self._claims.release(task.task_id, reviewer.name)
        refuse_claimed(task, held, reviewer.name)
        return _answer(task, None)

    @abstractmethod
    async def _review(self, request: web.Request, tenants: tuple[str, ...]) -> ReviewView:
        """The question that the path names. Raises Problem."""

    @abstractmethod
    async def _may_answer(self, task: ReviewView, name: str) -> None:
        """Whether this person may answer it at this moment. Raises Problem."""

    @abstractmethod
    async def _note_opened(self, task: ReviewView, name: str, request: web.Request) -> None:
        """That this person has it before them."""


def refuse_claimed(task: ReviewView, held: Claim | None, name: str) -> None:
    """Raises Problem where it is another's."""
    if held is not None and held.by != name:
        why = f"{held.by} has this question in hand; it is free again when they give it back or their lease ends"
        raise Problem("claimed", why, task_id=task.task_id, claimed_by=held.by, claimed_until=held.until)


def _answer(task: ReviewView, held: Claim | None) -> web.Response:
    by, until = (held.by, held.until) if held is not None else ("", 0)
    said = ReviewClaimed(task_id=task.task_id, case_id=task.case_id, claimed_by=by, claimed_until=until)
    return json_answer(said.model_dump())


def _route(name: str, path: str, does: str, refuses: tuple[str, ...]) -> Route:
    return Route(
        method="POST",
        path=path,
        name=name,
        caller=Caller.REVIEWER,
        does=does,
        answers={200: ReviewClaimed},
        refuses=("not_found", "claimed", *refuses),
    )


ROUTES = (
    _route(
        "claim_review",
        "/v1/reviews/{task_id}/claim",
        f"Take a question in hand for {LEASE_S // 60} minutes, or once more; nobody else may take or decide it then.",
        ("already_decided", "same_principal"),
    ),
    _route("release_review", "/v1/reviews/{task_id}/release", "Give a question back that one has in hand.", ()),
)
