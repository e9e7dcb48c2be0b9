"""The page for people who answer, in a real browser, of the real gateway with its neighbours in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from playwright.async_api import expect

from aios.schemas.models import ReviewDecided
from aios.streams.outcome_views import CaseView, ReviewView
from aios.streams.topics import REVIEW_DECIDED
from aios.streams.wall_clock import wall_ms
from tests.browser import chromium
from tests.browser.chromium import HOSTILE, browsed, sign_in
from tests.fakes.gateway import KEYS, TOKENS, Served, served
from tests.unit.test_gateway import TASK

HOUR_MS = 3_600_000

pytestmark = chromium.needed


def question(name: str, **more: Any) -> ReviewView:
    now = wall_ms()
    task = replace(TASK, task_id=name, case_id=f"case-{name}", requested_at=now - HOUR_MS, expires_at=now + 9 * HOUR_MS)
    return replace(task, **more)


def run(test: Callable[[Served], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(120), served() as gateway:
            await test(gateway)

    asyncio.run(within())


def decided(gateway: Served) -> list[ReviewDecided]:
    out = [one for one in gateway.roads.delivered if one.topic == REVIEW_DECIDED.name]
    return [gateway.codec.decode(one.value or b"", ReviewDecided) for one in out]


def test_a_person_takes_the_most_urgent_question_and_answers_it_with_two_keys() -> None:
    """What a customer wrote is text; the answer can be taken back first; what is sent is what was chosen."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks = {
            "calm": question("calm"),
            "late": question(
                "late",
                expires_at=wall_ms() + HOUR_MS // 10,
                input={"text": HOSTILE, "documents": [{"name": "passport.txt"}]},
                evidence={"score": 70},
            ),
        }
        async with browsed(gateway.url) as page:
            await sign_in(page, TOKENS["ada"])
            await expect(page.locator("#open li")).to_have_count(2)
            await expect(page.locator("#sign-in")).to_be_hidden()
            await page.keyboard.press("n")
            shown = page.locator("#question")
            await expect(shown).to_contain_text("Yours until")
            await expect(shown).to_contain_text("card (40 %)")
            await expect(shown).to_contain_text(HOSTILE)
            await expect(shown).to_contain_text("passport.txt")
            await expect(page).to_have_title("AIOS: questions to people")
            assert gateway.outcomes.tasks["late"].claimed_by == "ada"

            await page.keyboard.press("2")
            await expect(page.locator("#says")).to_contain_text("Escape takes it back")
            await page.keyboard.press("Escape")
            await expect(page.locator("#says")).to_contain_text("nothing was sent")
            await page.get_by_label("Why").fill("the letter says so")
            await page.get_by_role("button", name="mortgage").click()
            await expect(page.locator("#says")).to_contain_text("accepted")
            (said,) = decided(gateway)
            assert (said.task_id, said.label, said.reviewer) == ("late", "mortgage", "ada")
            assert said.comment == "the letter says so"

    run(test)


def test_going_on_sends_what_was_chosen() -> None:
    """Once, without waiting for the time to take it back."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks = {"a": question("a"), "b": question("b")}
        async with browsed(gateway.url) as page:
            await sign_in(page, TOKENS["ada"])
            await page.get_by_role("button", name="Take the next").click()
            await expect(page.locator("#question")).to_contain_text("case-a")
            await page.keyboard.press("1")
            await page.keyboard.press("n")
            await expect(page.locator("#question")).to_contain_text("case-b")
            assert [(one.task_id, one.label) for one in decided(gateway)] == [("a", "card")]

    run(test)


def test_of_many_answers_words_find_one() -> None:
    """What was suggested comes first; an answered question is gone from the list at once."""
    labels = tuple(f"label_{number}" for number in range(40))

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks = {"a": question("a", choices=labels, suggestion="label_33")}
        async with browsed(gateway.url) as page:
            await sign_in(page, TOKENS["ada"])
            await page.keyboard.press("n")
            await expect(page.locator(".choices button").first).to_have_text("label 33 1")
            await page.get_by_label("Of 40 answers").fill("bel 27")
            await expect(page.locator(".choices button:visible")).to_have_count(1)
            await page.keyboard.press("Enter")
            await page.keyboard.press("Escape")
            await expect(page.locator("#says")).to_contain_text("nothing was sent")
            await page.keyboard.press("Enter")
            await expect(page.locator("#says")).to_contain_text("accepted")
            assert [one.label for one in decided(gateway)] == ["label_27"]
            await expect(page.locator("#open li")).to_have_count(0)

    run(test)


def test_what_the_gateway_refuses_is_told_in_its_words() -> None:
    """A token that is none; a question that somebody else has, and that may be read all the same."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks = {"t": question("t", claimed_by="gus", claimed_until=wall_ms() + HOUR_MS)}
        async with browsed(gateway.url, expected=frozenset({401, 404, 409})) as page:
            await sign_in(page, "aios_nobody", known=False)
            await expect(page.locator("#says")).to_contain_text("aios principal add NAME")
            await sign_in(page, TOKENS["ada"])
            await page.locator("#open button").click()
            await expect(page.locator("#question")).to_contain_text("gus has it until")
            await page.keyboard.press("t")
            await expect(page.locator("#says")).to_contain_text("gus has this question in hand")
            await page.keyboard.press("n")
            await expect(page.locator("#says")).to_contain_text("there is no question that nobody has in hand")
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.locator("#sign-in")).to_be_visible()
            await expect(page.locator("#questions")).to_be_hidden()
            assert await page.evaluate("sessionStorage.length") == 0

    run(test)


def test_a_tenant_reads_why_its_case_came_to_its_decision() -> None:
    async def test(gateway: Served) -> None:
        view = CaseView(case_id="c1", tenant="acme", workflow="document.triage", status="decided", decided_at=5)
        gateway.outcomes.cases["c1"] = replace(view, outcome="routed", label="card", decided_by="policy")
        gateway.outcomes.timelines["c1"] = []
        async with browsed(gateway.url, expected=frozenset({404})) as page:
            await sign_in(page, KEYS["acme"])
            await page.get_by_role("button", name="Cases").click()
            await page.get_by_label("Case", exact=True).fill("c9")
            await page.get_by_role("button", name="Explain").click()
            await expect(page.locator("#says")).to_contain_text("this tenant has no such case")
            await page.get_by_label("Case", exact=True).fill("c1")
            await page.keyboard.press("Enter")
            await expect(page.locator("#explanation")).to_contain_text("Routed as card")
            await page.get_by_role("button", name="Those that changed last").click()
            await expect(page.locator("#explanation tr")).to_have_count(2)
            await page.locator("#explanation table button").click()
            await expect(page.locator("#explanation")).to_contain_text("Routed as card")

    run(test)


def test_the_page_can_be_used_by_keyboard_and_read_aloud() -> None:
    """Whatever can be pressed has a name, fields have labels, what happens is announced, focus is where one reads."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks = {"a": question("a")}
        async with browsed(gateway.url) as page:
            await sign_in(page, TOKENS["ada"])
            await page.keyboard.press("n")
            await expect(page.locator("#question")).to_contain_text("Yours until")
            assert await page.evaluate("document.activeElement.id") == "question"
            assert await chromium.nameless(page) == 0
            assert await page.locator("[role=status][aria-live=polite]").count() == 1
            await page.keyboard.press("/")
            assert await page.evaluate("document.activeElement.id") == "filter"
            await page.keyboard.type("no such words")
            await expect(page.locator("#open li")).to_have_count(0)

    run(test)
