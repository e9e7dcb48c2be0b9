"""Claims over HTTP: two people do not work on one question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aios.infra.cli import aios
from aios.infra.output import NOT_FOUND
from aios.streams.gateway import cases
from aios.streams.outcome_views import ReviewView
from aios.streams.review_claims import IN_HAND_MAX, LEASE_S
from aios.streams.wall_clock import wall_ms
from tests.fakes.gateway import TOKENS, Served, served
from tests.unit.test_gateway import DECISION, TASK, problem


def run(test: Callable[[Served], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with served() as gateway:
            gateway.outcomes.tasks["t1"] = replace(TASK, tenant="globex")
            await test(gateway)

    asyncio.run(all_of_it())


async def claims(gateway: Served, who: str, what: str = "claim", task: str = "t1") -> tuple[int, str]:
    async with gateway.request("POST", f"/v1/reviews/{task}/{what}", principal=who) as response:
        body = await response.json()
        return response.status, body.get("claimed_by", body.get("type", "").rpartition(":")[2])


def test_while_one_has_a_question_nobody_else_takes_or_decides_it() -> None:
    """Who has it may renew and decide; everybody is shown who; given back it is free."""

    async def test(gateway: Served) -> None:
        assert await claims(gateway, "ada") == (200, "ada")
        assert await claims(gateway, "ada") == (200, "ada")
        assert await claims(gateway, "gus") == (409, "ada")
        assert await claims(gateway, "gus", "release") == (409, "ada")
        async with gateway.request("GET", "/v1/reviews", principal="gus") as response:
            assert [one["claimed_by"] for one in await response.json()] == ["ada"]
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="gus", json=DECISION) as response:
            refused = await problem(response, "claimed")
            assert "ada has this question in hand" in refused["detail"]
        decided = [out for out in gateway.roads.delivered if out.topic.startswith("review.decided")]
        assert decided == []
        assert await claims(gateway, "ada", "release") == (200, "")
        assert await claims(gateway, "gus") == (200, "gus")
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="gus", json=DECISION) as response:
            assert response.status == 202

    run(test)


def test_a_claim_is_a_question_that_was_opened_and_may_be_had_by_reviewers_of_its_tenant_alone() -> None:
    """Acknowledged by it, as by opening; no analyst, no tenant's key, no question that is answered or not there."""

    async def test(gateway: Served) -> None:
        await claims(gateway, "ada")
        (opened,) = [out for out in gateway.roads.delivered if out.topic.startswith("audit.recorded")]
        assert b"review_opened" in (opened.value or b"")
        gateway.outcomes.tasks |= {
            "t2": replace(TASK, task_id="t2", status="closed"),
            "t3": replace(TASK, task_id="t3"),
        }
        assert await claims(gateway, "bob") == (403, "forbidden")
        assert await claims(gateway, "") == (401, "unauthorized")
        assert await claims(gateway, "ada", task="t2") == (409, "already_decided")
        assert await claims(gateway, "gus", task="t3") == (404, "not_found")
        assert await claims(gateway, "ada", task="t9") == (404, "not_found")

    run(test)


def test_of_two_who_must_agree_the_second_is_another_person() -> None:
    """Told at once, and neither claim nor answer of the first keeps anybody from the second round."""
    again = replace(TASK, tenant="globex", task_id="t1", people=2, round=2)

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks["t1"] = again

        def move(seq: int, transition: str, who: str) -> dict[str, Any]:
            return {"case_seq": seq, "transition": transition, "actor": f"reviewer:{who}", "step": again.step}

        gateway.outcomes.timelines[again.case_id] = [
            move(2, "review_decided", "gus"),  # when the case was here before
            move(3, "review_decided", "pat"),
            move(6, "review_decided", "ada"),
            move(0, "review_opened", "gus"),
        ]
        assert await claims(gateway, "gus") == (200, "gus")
        assert await claims(gateway, "gus", "release") == (200, "")
        assert await claims(gateway, "ada") == (403, "same_principal")
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="ada", json=DECISION) as response:
            await problem(response, "same_principal")
        gateway.outcomes.timelines[again.case_id] = []  # the sink is behind: plan will pass it over
        for who in ("ada", "gus"):
            async with gateway.request("POST", "/v1/reviews/t1/decision", principal=who, json=DECISION) as response:
                assert response.status == 202

    run(test)


def test_who_disagreed_before_does_not_settle_it() -> None:
    """Told at once; once a third person has answered, what comes later is anybody's."""
    senior = replace(TASK, tenant="globex", task_id="t1", step="senior")

    def said(who: str, label: str, **detail: int) -> dict[str, Any]:
        return {
            "transition": "review_decided",
            "actor": f"reviewer:{who}",
            "step": "ask" if detail else "between",
            "detail": {"label": label, **detail},
        }

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks["t1"] = senior
        two = [said("ada", "card", people=2, round=1), said("pat", "mortgage", people=2, round=2)]
        gateway.outcomes.timelines[senior.case_id] = two
        assert await claims(gateway, "ada") == (403, "same_principal")
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="ada", json=DECISION) as response:
            await problem(response, "same_principal")
        assert await claims(gateway, "gus") == (200, "gus")
        assert await claims(gateway, "gus", "release") == (200, "")
        agreed = [two[0], said("pat", "card", people=2, round=2)]
        half = [said("pat", "mortgage"), said("ada", "card", people=2, round=1)]
        for moves in ([*two, said("gus", "card")], agreed, half):
            gateway.outcomes.timelines[senior.case_id] = moves
            assert await claims(gateway, "ada") == (200, "ada")
            assert await claims(gateway, "ada", "release") == (200, "")

    run(test)


def test_the_same_answer_again_is_the_same_whoever_has_claimed_since() -> None:
    """Its 202 was lost, and the store does not know yet that the question is answered; nobody is given it any more."""

    async def test(gateway: Served) -> None:
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="gus", json=DECISION) as response:
            assert response.status == 202
        assert await claims(gateway, "ada") == (409, "already_decided")
        await gateway.outcomes.claim("t1", "ada")
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="gus", json=DECISION) as response:
            assert response.status == 202
        gateway.outcomes.tasks["t1"] = replace(gateway.outcomes.tasks["t1"], status="closed")
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="gus", json=DECISION) as response:
            await problem(response, "already_decided")

    run(test)


def test_an_answer_that_never_arrives_closes_its_question_for_a_while_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It became a dead letter that somebody discarded: the question is open, and people can answer it otherwise."""
    passed = [0.0]
    monkeypatch.setattr(cases, "monotonic", lambda: passed[0], raising=False)

    async def answer(gateway: Served, who: str) -> int:
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal=who, json=DECISION) as response:
            status: int = response.status
            return status

    async def test(gateway: Served) -> None:
        assert await answer(gateway, "gus") == 202
        passed[0] = LEASE_S - 1.0
        assert await answer(gateway, "ada") == 409
        passed[0] = LEASE_S + 1.0
        assert await answer(gateway, "ada") == 202
        assert await claims(gateway, "gus") == (409, "already_decided")

    run(test)


def test_a_question_that_names_a_skill_is_for_reviewers_who_have_it() -> None:
    """Neither taken nor decided by another, who may read it; one with every skill, and one with several, may."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks["t1"] = replace(TASK, tenant="globex", skills="sanctions")
        gateway.outcomes.tasks["t2"] = replace(TASK, task_id="t2", skills="compliance")
        assert await claims(gateway, "ada") == (403, "skill_missing")
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="ada", json=DECISION) as response:
            refused = await problem(response, "skill_missing")
            assert "sanctions" in refused["detail"]
        async with gateway.request("GET", "/v1/reviews/t1", principal="ada") as response:
            assert response.status == 200
        assert await claims(gateway, "sue", task="t2") == (403, "skill_missing")
        assert [out for out in gateway.roads.delivered if out.topic.startswith("review.decided")] == []
        assert await claims(gateway, "una", task="t2") == (200, "una")
        async with gateway.request("POST", "/v1/reviews/t1/decision", principal="sue", json=DECISION) as response:
            assert response.status == 202

    run(test)


def many(*skills: str) -> dict[str, ReviewView]:
    """Three hundred questions of each skill, one skill after the other; three asked in every millisecond."""
    made = [
        replace(TASK, task_id=f"t{n:04}", requested_at=1 + n // 3, skills=skills[n // 300])
        for n in range(300 * len(skills))
    ]
    return {one.task_id: one for one in made}


def test_every_open_question_can_be_listed_page_after_page() -> None:
    """By the last one of the page before, also when it was answered meanwhile; another tenant's, or none, is told."""

    async def test(gateway: Served) -> None:
        tasks = gateway.outcomes.tasks = many("", "")
        tasks["g"] = replace(TASK, task_id="g", tenant="globex")
        seen: list[str] = []
        while True:
            after = {"after": seen[-1]} if seen else {}
            async with gateway.request("GET", "/v1/reviews", params={"limit": "200", **after}) as response:
                page = [one["task_id"] for one in await response.json()]
            if not page:
                break
            seen += page
            tasks[seen[-1]] = replace(tasks[seen[-1]], status="closed")
        assert seen == [f"t{n:04}" for n in range(600)]
        for unknown in ("g", "nobody"):
            async with gateway.request("GET", "/v1/reviews", params={"after": unknown}) as response:
                assert "after" in (await problem(response, "invalid_query"))["detail"]

    run(test)


def test_who_claims_gets_one_that_they_may_answer_however_many_are_older(tmp_path: Path) -> None:
    """By the command, too; where nothing is left for them, that is said and no more."""

    async def test(gateway: Served) -> None:
        async def claim(who: str) -> Result:
            token = tmp_path / who
            token.write_text(TOKENS[who])
            words = ["review", "claim", "--gateway", gateway.url, "--token-file", str(token)]
            return await asyncio.to_thread(CliRunner().invoke, aios, words)

        gateway.outcomes.tasks = many("compliance", "tax", "")
        said = await claim("ada")
        assert (said.exit_code, said.stderr) == (0, "")
        assert said.stdout.startswith("t0600 is yours")
        gateway.outcomes.tasks = many("compliance")
        said = await claim("ada")
        assert said.exit_code == NOT_FOUND
        assert "there is no question that nobody has in hand and that you may answer" in said.stderr

    run(test)


async def next_of(gateway: Served, who: str) -> str:
    async with gateway.request("POST", "/v1/reviews/claim", principal=who) as response:
        body = await response.json()
        return str(body.get("task_id") or body["type"].rpartition(":")[2])


def test_the_next_question_is_the_most_urgent_one_and_of_these_one_that_fewer_may_answer() -> None:
    """By the share of its time that is gone, in tenths; not again what one has in hand, nor what another has, nor what
    one has answered the first round of.
    """
    now, hour = wall_ms(), 3_600_000

    def question(name: str, *, asked_h: float, expires_h: float, **more: Any) -> ReviewView:
        times = {"requested_at": now - round(asked_h * hour), "expires_at": now + round(expires_h * hour)}
        return replace(TASK, task_id=name, case_id=f"case-{name}", **times, **more)

    def again(gateway: Served) -> ReviewView:
        found = question("again", asked_h=99, expires_h=1, round=2, people=2)
        said = {"transition": "review_decided", "actor": "reviewer:sue", "step": found.step}
        gateway.outcomes.timelines[found.case_id] = [said]
        return found

    async def test(gateway: Served) -> None:
        every = [
            question("old", asked_h=50, expires_h=950),
            question("urgent", asked_h=2, expires_h=0.5),
            question("any", asked_h=10.5, expires_h=89.5),
            question("skilled", asked_h=10.2, expires_h=89.8, skills="sanctions"),
            question("taken", asked_h=9, expires_h=1, claimed_by="gus", claimed_until=now + hour),
            again(gateway),
        ]
        gateway.outcomes.tasks = {one.task_id: one for one in every}
        assert [await next_of(gateway, "sue") for _ in range(5)] == ["urgent", "skilled", "any", "old", "not_found"]
        assert await next_of(gateway, "ada") == "again"

    run(test)


def test_one_person_has_so_many_in_hand_and_no_more() -> None:
    """Told at once, by name or the next; a question that is answered or given back makes room for another."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks = {f"t{n:02}": replace(TASK, task_id=f"t{n:02}") for n in range(IN_HAND_MAX + 3)}
        taken = [await next_of(gateway, "ada") for _ in range(IN_HAND_MAX)]
        assert taken == sorted(gateway.outcomes.tasks)[:IN_HAND_MAX]
        assert await next_of(gateway, "ada") == "hands_full"
        assert await claims(gateway, "ada", task=f"t{IN_HAND_MAX:02}") == (409, "hands_full")
        assert await claims(gateway, "ada", task=taken[0]) == (200, "ada"), "renewed"
        async with gateway.request("POST", f"/v1/reviews/{taken[0]}/decision", principal="ada", json=DECISION) as said:
            assert said.status == 202
        assert await next_of(gateway, "ada") == f"t{IN_HAND_MAX:02}"
        assert await claims(gateway, "ada", "release", taken[1]) == (200, "")
        assert await claims(gateway, "ada", task=f"t{IN_HAND_MAX + 1:02}") == (200, "ada")
        assert await next_of(gateway, "gus") == "not_found", "of another tenant"

    run(test)
