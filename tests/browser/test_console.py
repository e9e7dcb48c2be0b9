"""The page for people, in a real browser, served by the real gateway with its neighbours in memory."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from aios.schemas.models import ReviewDecided
from aios.streams.outcome_views import CaseView, ReviewView
from aios.streams.topics import REVIEW_DECIDED
from aios.streams.wall_clock import wall_ms
from tests.fakes.gateway import KEYS, TOKENS, Served, served
from tests.unit.test_gateway import TASK

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
HOUR_MS = 3_600_000
WAIT_MS_MAX = 15_000  # more than the page lets an answer be taken back in
HOSTILE = "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script>"

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: `apt-get install chromium`")


def question(name: str, **more: Any) -> ReviewView:
    now = wall_ms()
    task = replace(TASK, task_id=name, case_id=f"case-{name}", requested_at=now - HOUR_MS, expires_at=now + 9 * HOUR_MS)
    return replace(task, **more)


@asynccontextmanager
async def browsed(gateway: Served, *, expected: frozenset[int] = frozenset()) -> AsyncIterator[Page]:
    """The page, and at the end: nothing failed in it but answers of these statuses, nothing broke its policy."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = await browser.new_page()
        page.set_default_timeout(WAIT_MS_MAX)
        expect.set_options(timeout=WAIT_MS_MAX)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        await page.goto(f"{gateway.url}/console")
        yield page
        refused = tuple(f"the server responded with a status of {status}" for status in expected)
        assert [one for one in wrong if not any(each in one for each in refused)] == []
        await browser.close()


def run(test: Callable[[Served], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(120), served() as gateway:
            await test(gateway)

    asyncio.run(within())


async def sign_in(page: Page, secret: str) -> None:
    await page.get_by_label("A reviewer's token").fill(secret)
    await page.get_by_role("button", name="Sign in").click()


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
        async with browsed(gateway) as page:
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
        async with browsed(gateway) as page:
            await sign_in(page, TOKENS["ada"])
            await page.get_by_role("button", name="Take the next").click()
            await expect(page.locator("#question")).to_contain_text("case-a")
            await page.keyboard.press("1")
            await page.keyboard.press("n")
            await expect(page.locator("#question")).to_contain_text("case-b")
            assert [(one.task_id, one.label) for one in decided(gateway)] == [("a", "card")]

    run(test)


def test_what_the_gateway_refuses_is_told_in_its_words() -> None:
    """A token that is none; a question that somebody else has, and that may be read all the same."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks = {"t": question("t", claimed_by="gus", claimed_until=wall_ms() + HOUR_MS)}
        async with browsed(gateway, expected=frozenset({401, 404, 409})) as page:
            await sign_in(page, "aios_nobody")
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
        async with browsed(gateway, expected=frozenset({404})) as page:
            await sign_in(page, KEYS["acme"])
            await page.get_by_role("button", name="Case").click()
            await page.get_by_label("Case", exact=True).fill("c9")
            await page.get_by_role("button", name="Explain").click()
            await expect(page.locator("#says")).to_contain_text("this tenant has no such case")
            await page.get_by_label("Case", exact=True).fill("c1")
            await page.keyboard.press("Enter")
            await expect(page.locator("#explanation")).to_contain_text("routed")

    run(test)


def test_the_page_can_be_used_by_keyboard_and_read_aloud() -> None:
    """Whatever can be pressed has a name, fields have labels, what happens is announced, focus is where one reads."""

    async def test(gateway: Served) -> None:
        gateway.outcomes.tasks = {"a": question("a")}
        async with browsed(gateway) as page:
            await sign_in(page, TOKENS["ada"])
            await page.keyboard.press("n")
            await expect(page.locator("#question")).to_contain_text("Yours until")
            assert await page.evaluate("document.activeElement.id") == "question"
            nameless = "node => !(node.labels?.length || node.textContent.trim() || node.getAttribute('aria-label'))"
            every = f"[...document.querySelectorAll('button, input, textarea')].filter({nameless}).length"
            assert await page.evaluate(every) == 0
            assert await page.locator("[role=status][aria-live=polite]").count() == 1
            await page.keyboard.press("/")
            assert await page.evaluate("document.activeElement.id") == "filter"
            await page.keyboard.type("no such words")
            await expect(page.locator("#open li")).to_have_count(0)

    run(test)
