"""/v1/reviews: questions to people, listed, shown, claimed and decided over HTTP; part of the gateway's Api.

Enters: a reader's key or a reviewer's token, a question. Leaves: the question; review.decided.v1 under the name that
the token belongs to; that somebody has it before them, once, in the audit. Guaranteed: a decision that cannot count is
told at once, as far as it is known here (plan is the judge): of an answered question, by who answered its first round
or disagreed before it, of one that another has claimed or that asks for a skill which the reviewer has not. What a
claim is, and is not: review_claims.py.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Protocol

from aiohttp import web
from pydantic import BaseModel, Field

from aios.schemas import ids
from aios.schemas.models import AuditRecorded, PrincipalRegistered, ReviewDecided
from aios.streams import documents, ingest, principals, topics
from aios.streams.bodies import Body
from aios.streams.errors import Unavailable
from aios.streams.gateway.cases import Links, Recent, case_url
from aios.streams.http import query
from aios.streams.http.about import ASK_S_MAX, json_answer
from aios.streams.http.guard import TenantGuard
from aios.streams.http.openapi import Caller, Route
from aios.streams.http.problem import Problem
from aios.streams.outcome_views import OPEN, ReviewView
from aios.streams.review_claims import IN_HAND_MAX, LEASE_S, Claim
from aios.streams.topics import Topic
from aios.streams.wall_clock import wall_ms

REVIEWS_MAX = 200
NEXT_LOOKED_MAX = 2_000  # open questions that are looked at for the next one

log = logging.getLogger(__name__)


class Reviews(Protocol):
    """OutcomeStore in service. Every call raises Unavailable when it does not answer."""

    async def reviews(self, tenant: str | None, limit: int, after: tuple[int, str]) -> Sequence[ReviewView]: ...
    async def review(self, task_id: str, tenant: str | None) -> ReviewView | None: ...
    async def timeline(self, case_id: str, tenant: str) -> Sequence[Mapping[str, Any]]: ...
    async def claim(self, task_id: str, by: str) -> Claim | None: ...
    async def release(self, task_id: str, by: str) -> Claim | None: ...
    async def answered(self, task_id: str, by: str) -> None: ...


class ReviewDecision(Body):
    """What a reviewer decides; who that is says the token. label: one of the task's choices."""

    label: Annotated[str, Field(min_length=1, max_length=documents.NAME_CHARS_MAX)]
    comment: Annotated[str, Field(max_length=documents.SUBJECT_CHARS_MAX)] = ""


class ReviewAccepted(BaseModel):
    """The broker has the decision; the first valid one of a task wins."""

    task_id: str
    case_id: str
    event_id: str
    links: Links


class ReviewClaimed(BaseModel):
    """claimed_by, claimed_until: as the question shows them from now on; Unix ms. Empty and 0: nobody has it."""

    task_id: str
    case_id: str
    claimed_by: str
    claimed_until: int


class ReviewsApi(ABC):
    """The handlers."""

    _guard: TenantGuard
    _outcomes: Reviews
    _answers: Recent
    _opened: Recent

    async def list_reviews(self, request: web.Request, tenants: tuple[str, ...]) -> web.Response:
        limit, after = query.limit(request, REVIEWS_MAX), await self._listed_at(request.query.get("after", ""), tenants)
        return json_answer([each.plain() for each in await self._listed(tenants, limit, after)])

    async def _listed(self, tenants: tuple[str, ...], limit: int, after: tuple[int, str]) -> list[ReviewView]:
        """Of these tenants, () is all: the longest waiting first."""
        found = [each for one in tenants or (None,) for each in await self._outcomes.reviews(one, limit, after)]
        found.sort(key=lambda each: (each.requested_at, each.task_id))
        return found[:limit]

    async def _listed_at(self, task_id: str, tenants: tuple[str, ...]) -> tuple[int, str]:
        """Of a question, answered meanwhile or not, in the order in which they are listed. Raises Problem."""
        if not task_id:
            return 0, ""
        task = await self._outcomes.review(task_id, None)
        if task is None or (tenants and task.tenant not in tenants):
            raise Problem("invalid_query", "after: there is no such question for this API key or token")
        return task.requested_at, task.task_id

    async def show_review(self, request: web.Request, tenants: tuple[str, ...]) -> web.Response:
        task = await self._review(request, tenants)
        if task.status == OPEN and (name := self._guard.person(request)):
            await self._note_opened(task, name, request)
        return json_answer(task.plain())

    async def _note_opened(self, task: ReviewView, name: str, request: web.Request) -> None:
        """That this person has the question before them, once; measured by `aios review stats`, and no more than that:
        where Kafka does not take it soon they read on all the same.
        """
        audit_id = ids.derive("opened", task.task_id, name)
        if self._opened.value(audit_id) is not None:
            return
        opened = AuditRecorded(
            audit_id=audit_id,
            case_id=task.case_id,
            tenant=task.tenant,
            workflow=task.workflow,
            case_seq=0,
            transition="review_opened",
            step=task.step,
            actor=f"reviewer:{name}",
            detail=ids.canonical({"task_id": task.task_id}),
            input_topic="",
            input_partition=0,
            input_offset=0,
            at=wall_ms(),
        )
        try:
            async with asyncio.timeout(ASK_S_MAX):
                await self._deliver(
                    topics.AUDIT_RECORDED,
                    opened,
                    event_id=audit_id,
                    case_id=task.case_id,
                    tenant=task.tenant,
                    request=request,
                )
        except (Problem, TimeoutError) as error:
            log.warning("that %s was opened is not on record: %s", task.task_id, type(error).__name__)
        else:
            self._opened.note(audit_id, task.tenant, name)

    async def decide_review(self, request: web.Request, reviewer: PrincipalRegistered) -> web.Response:
        decision: ReviewDecision = ingest.read_body(await self._guard.body(request), ReviewDecision)
        task = await self._review(request, reviewer.tenants)
        event_id = ids.derive("review", task.task_id, decision.label, reviewer.name, decision.comment)
        await self._may_answer(task, reviewer, event_id)
        if decision.label not in task.choices:
            raise Problem("label_not_offered", f"choose one of: {', '.join(task.choices)}")
        if self._answers.value(task.task_id) != event_id:
            _refuse_claimed(task, task.claim, reviewer.name)
        event = ReviewDecided(
            event_id=event_id,
            task_id=task.task_id,
            case_id=task.case_id,
            tenant=task.tenant,
            label=decision.label,
            reviewer=reviewer.name,
            comment=decision.comment,
            decided_at=wall_ms(),
        )
        await self._deliver(
            topics.REVIEW_DECIDED, event, event_id=event_id, case_id=task.case_id, tenant=task.tenant, request=request
        )
        self._answers.note(task.task_id, task.tenant, event_id)
        with suppress(Unavailable):  # the claim ends by itself
            await self._outcomes.answered(task.task_id, reviewer.name)
        links = Links(case=case_url(task.case_id))
        answer = ReviewAccepted(task_id=task.task_id, case_id=task.case_id, event_id=event_id, links=links)
        return json_answer(answer.model_dump(), status=202, headers={"Location": links.case})

    async def _may_answer(self, task: ReviewView, reviewer: PrincipalRegistered, said: str = "") -> None:
        """Open, for people with what this one can do, and another person has not to answer it. Raises Problem.

        said: the event that may be said once more. Only of a first round does an answer that is on its way close the
        question here: plan may pass over one of a later round, of whom this process cannot know yet that they answered
        the round before. And it closes it for LEASE_S alone: one that became a dead letter may never arrive.
        """
        if not principals.can(reviewer, task.skills):
            why = f"this question is for reviewers with the skill {task.skills}; `aios principal add` gives skills"
            raise Problem("skill_missing", why, task_id=task.task_id)
        noted = self._answers.value(task.task_id)
        if task.status != OPEN or (task.round == 1 and noted not in (None, said)):
            raise Problem("already_decided", "this question is answered", case_id=task.case_id, task_id=task.task_id)
        if noted != said:
            moves = await self._outcomes.timeline(task.case_id, task.tenant)
            if f"reviewer:{reviewer.name}" in _not_again(task, moves):
                why = "who answered before does not answer again: another person has to agree, or to settle it"
                raise Problem("same_principal", why, case_id=task.case_id, task_id=task.task_id)

    async def claim_review(self, request: web.Request, reviewer: PrincipalRegistered) -> web.Response:
        task = await self._review(request, reviewer.tenants)
        await self._may_answer(task, reviewer)
        held = await self._taken(task, reviewer)
        _refuse_claimed(task, held, reviewer.name)
        await self._note_opened(task, reviewer.name, request)
        return _answer(task, held)

    async def claim_next(self, request: web.Request, reviewer: PrincipalRegistered) -> web.Response:
        async for task in self._waiting_for(reviewer):
            try:
                await self._may_answer(task, reviewer)
            except Problem:
                continue  # for others
            held = await self._taken(task, reviewer)
            if held.by == reviewer.name:
                await self._note_opened(task, reviewer.name, request)
                return _answer(task, held)
        raise Problem("not_found", "there is no question that nobody has in hand and that you may answer")

    async def _waiting_for(self, reviewer: PrincipalRegistered) -> AsyncIterator[ReviewView]:
        """Questions that nobody has in hand and this one has the skill for: of each page of the longest waiting, those
        first that have used more tenths of the time in which they may be answered, then those that ask for a skill,
        since fewer people may answer them.
        """
        after, looked, now = (0, ""), 0, wall_ms()
        while looked < NEXT_LOOKED_MAX and (page := await self._listed(reviewer.tenants, REVIEWS_MAX, after)):
            after, looked = (page[-1].requested_at, page[-1].task_id), looked + len(page)
            for task in sorted(page, key=lambda one: (-int(10 * one.share_used(now)), not one.skills)):
                if not task.claimed_by and principals.can(reviewer, task.skills):
                    yield task

    async def _taken(self, task: ReviewView, reviewer: PrincipalRegistered) -> Claim:
        """Theirs, or another's. Raises Problem."""
        held = await self._outcomes.claim(task.task_id, reviewer.name)
        if held is None:
            why = f"you have {IN_HAND_MAX} questions in hand, the most; answer one, or give one back"
            raise Problem("hands_full", why)
        return held

    async def release_review(self, request: web.Request, reviewer: PrincipalRegistered) -> web.Response:
        task = await self._review(request, reviewer.tenants)
        held = await self._outcomes.release(task.task_id, reviewer.name)
        _refuse_claimed(task, held, reviewer.name)
        return _answer(task, None)

    async def _review(self, request: web.Request, tenants: tuple[str, ...]) -> ReviewView:
        """tenants: whose it may be; () is anybody's."""
        task = await self._outcomes.review(request.match_info["task_id"], None)
        if task is None or (tenants and task.tenant not in tenants):
            raise Problem("not_found", "there is no such question for this API key or token")
        return task

    @abstractmethod
    async def _deliver(
        self,
        topic: Topic,
        event: AuditRecorded | ReviewDecided,
        *,
        event_id: str,
        case_id: str,
        tenant: str,
        request: web.Request,
    ) -> None:
        """Returns when the broker has it. Raises Problem."""


def _not_again(task: ReviewView, moves: Sequence[Mapping[str, Any]]) -> list[str]:
    """Actors who answered this question's first round, or disagreed in the question before it. moves: in order."""
    every = [one for one in moves if one["transition"] == "review_decided"]
    own = [one for one in every[max(0, len(every) - task.round + 1) :] if one.get("step") == task.step]
    before = every[: len(every) - len(own)]
    last = before[-1].get("detail", {}) if before else {}
    both = before[-last["people"] :] if last.get("round") == last.get("people", 1) else []
    labels = {one.get("detail", {}).get("label") for one in both}
    return [one["actor"] for one in (*own, *(both if len(labels) > 1 else ()))]


def _refuse_claimed(task: ReviewView, held: Claim | None, name: str) -> None:
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
    Route(
        method="GET",
        path="/v1/reviews",
        name="list_reviews",
        caller=Caller.READER,
        does="Open questions to people, the longest waiting first.",
        answers={200: list[ReviewView]},
        query={
            "limit": query.limited(REVIEWS_MAX),
            "after": {"type": "string", "description": "Id of a question: those that follow it, for the next page."},
        },
        refuses=("invalid_query",),
    ),
    Route(
        method="GET",
        path="/v1/reviews/{task_id}",
        name="show_review",
        caller=Caller.READER,
        does="One question, with what it is about.",
        answers={200: ReviewView},
        refuses=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/reviews/{task_id}/decision",
        name="decide_review",
        caller=Caller.REVIEWER,
        does="Answer a question; 202 once the broker has it.",
        takes=(ReviewDecision,),
        answers={202: ReviewAccepted},
        refuses=(
            "invalid_json",
            "not_found",
            "too_slow",
            "already_decided",
            "same_principal",
            "skill_missing",
            "claimed",
            "too_large",
            "unsupported_media_type",
            "invalid_body",
            "label_not_offered",
            "not_acknowledged",
        ),
        headers={"traceparent": "W3C trace context, continued."},
    ),
    _route(
        "claim_next",
        "/v1/reviews/claim",
        "Take the most urgent question in hand that nobody has and that you may answer, the most of its time used"
        f" first. One person has {IN_HAND_MAX} at once.",
        ("hands_full",),
    ),
    _route(
        "claim_review",
        "/v1/reviews/{task_id}/claim",
        f"Take a question in hand for {LEASE_S // 60} minutes, or once more; nobody else may take or decide it then.",
        ("already_decided", "same_principal", "skill_missing", "hands_full"),
    ),
    _route("release_review", "/v1/reviews/{task_id}/release", "Give a question back that one has in hand.", ()),
)
